"""Logs of the namespace to CloudWatch: Fluent Bit on every node, without a look at the API server."""

from __future__ import annotations

from infra.manifest import NAMESPACE, Manifest, manifest
from infra.shapes import SystemPod

NAME = "fluent-bit"
IMAGE = "public.ecr.aws/aws-observability/aws-for-fluent-bit:2.34.0"
LABELS = {"app.kubernetes.io/name": NAME}
_HOST_LOGS, _POSITIONS = "/var/log", "/var/lib/agents-cloud-fluent-bit"


def logs(pod: SystemPod, region: str, group: str) -> list[Manifest]:
    """ServiceAccount, configuration and DaemonSet that send the namespace's lines to the log group `group`."""
    configuration = f"""\
[SERVICE]
    Flush 5
    HTTP_Server On
    HTTP_Listen 0.0.0.0
    HTTP_Port 2020
    Health_Check On
[INPUT]
    Name tail
    Path {_HOST_LOGS}/containers/*_{NAMESPACE}_*.log
    Tag pod.*
    DB {_POSITIONS}/positions.db
    multiline.parser cri
    Mem_Buf_Limit 20MB
    Skip_Long_Lines On
[OUTPUT]
    Name cloudwatch_logs
    Match pod.*
    region {region}
    log_group_name {group}
    log_stream_prefix pod.
    log_key log
    auto_create_group Off
    retry_limit 5
"""
    return [
        manifest(
            "v1",
            "ServiceAccount",
            NAME,
            namespace=pod.namespace,
            labels=LABELS,
            automountServiceAccountToken=False,
        ),
        manifest(
            "v1",
            "ConfigMap",
            NAME,
            namespace=pod.namespace,
            labels=LABELS,
            data={"fluent-bit.conf": configuration},
        ),
        _daemon_set(pod),
    ]


def _daemon_set(pod: SystemPod) -> Manifest:
    made: Manifest = {
        "name": NAME,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/fluent-bit/bin/fluent-bit", "-c", "/configuration/fluent-bit.conf"],
        "resources": {"requests": pod.requests.quantities, "limits": (pod.limits or pod.requests).quantities},
        # The node's log files are root's; it gets that user, and none of root's privileges.
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsUser": 0,
        },
        "ports": [{"name": "health", "containerPort": 2020}],
        "livenessProbe": {
            "httpGet": {"path": "/", "port": "health"},
            "periodSeconds": 30,
            "timeoutSeconds": 5,
        },
        "readinessProbe": {
            "httpGet": {"path": "/api/v1/health", "port": "health"},
            "periodSeconds": 30,
            "timeoutSeconds": 5,
        },
        "volumeMounts": [
            {"name": "configuration", "mountPath": "/configuration", "readOnly": True},
            {"name": "logs", "mountPath": _HOST_LOGS, "readOnly": True},
            {"name": "positions", "mountPath": _POSITIONS},
        ],
    }
    spec: Manifest = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": "system-node-critical",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": [{"operator": "Exists"}],
        "containers": [made],
        "volumes": [
            {"name": "configuration", "configMap": {"name": NAME}},
            {"name": "logs", "hostPath": {"path": _HOST_LOGS, "type": "Directory"}},
            {"name": "positions", "hostPath": {"path": _POSITIONS, "type": "DirectoryOrCreate"}},
        ],
    }
    return manifest(
        "apps/v1",
        "DaemonSet",
        NAME,
        namespace=pod.namespace,
        labels=LABELS,
        spec={
            "selector": {"matchLabels": LABELS},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {"metadata": {"labels": LABELS}, "spec": spec},
        },
    )
