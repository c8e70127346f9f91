"""What all pods of the namespace share: they satisfy Pod Security `restricted`, and the judges beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.manifest import CLASS_LABEL, SPOT_TAINT, Manifest
from infra.shapes import NodeClass, Resources

USER = 10001
"""The images' user. No host has such a one, which matters where a pod escapes."""
PORT = 8080
TEMPORARY = "512Mi"
SECRET_VARIABLES: Mapping[str, tuple[str, str]] = {
    "OPENAI_API_KEY": ("openai-credentials", "api_key"),
    "GITHUB_TOKEN": ("github-credentials", "read_token"),
    "GITHUB_APP_ID": ("github-app", "id"),
    "GITHUB_APP_PRIVATE_KEY": ("github-app", "private_key"),
    "WEBHOOK_SECRET": ("webhook", "secret"),
    "REPLICATION_PASSWORD": ("replication", "password"),
}
"""Environment variable → (Secret, key)."""


def variables(plain: Mapping[str, Any], secret: tuple[str, ...] = ()) -> list[Manifest]:
    """`env` of a container: `plain` values, and the names in `secret` from their Secrets where those exist."""
    entries: list[Manifest] = [{"name": name, "value": value} for name, value in sorted(plain.items())]
    for name in secret:
        holder, key = SECRET_VARIABLES[name]
        reference = {"name": holder, "key": key, "optional": True}
        entries.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    return entries


def container(
    name: str,
    image: Any,
    command: list[str],
    env: list[Manifest],
    requests: Resources,
    limits: Resources,
    mounts: Mapping[str, str],
    *,
    served: bool = True,
) -> Manifest:
    """A container that may write to /tmp only. `mounts` by volume; `served`: it answers probes on 8080."""
    made: Manifest = {
        "name": name,
        "image": image,
        # Tags are never overwritten, and a digest cannot be.
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": env,
        "resources": {"requests": requests.quantities, "limits": limits.quantities},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": USER,
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own, gone with it
            *({"name": volume, "mountPath": path, "readOnly": True} for volume, path in mounts.items()),
        ],
    }
    if served:
        made |= {
            "ports": [{"name": "http", "containerPort": PORT}],
            "livenessProbe": _probe("/health", initialDelaySeconds=30, periodSeconds=10),
            "readinessProbe": _probe("/ready", initialDelaySeconds=5, periodSeconds=5),
        }
    return made


def pod_spec(
    service_account: str,
    node_class: NodeClass,
    containers: list[Manifest],
    config_maps: Mapping[str, Any],
    *,
    grace_seconds: int = 30,
    kubernetes_token: bool = False,
    spread: Mapping[str, str] | None = None,
) -> Manifest:
    """A pod on the nodes of its class. `config_maps`: volume → ConfigMap. `spread`: labels of pods to keep apart."""
    spec: Manifest = {
        "serviceAccountName": service_account,
        # Pod Identity brings a token of its own.
        "automountServiceAccountToken": kubernetes_token,
        "enableServiceLinks": False,
        "nodeSelector": {CLASS_LABEL: node_class},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": grace_seconds,
        "containers": containers,
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": TEMPORARY}},
            *({"name": volume, "configMap": {"name": name}} for volume, name in config_maps.items()),
        ],
    }
    if node_class == "flex":
        spec["tolerations"] = [
            {"key": SPOT_TAINT, "operator": "Equal", "value": "true", "effect": "NoSchedule"}
        ]
    if spread is not None:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": topology,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": dict(spread)},
            }
            for topology in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ]
    return spec


def _probe(path: str, **times: int) -> Manifest:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 5, **times}
