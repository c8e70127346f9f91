"""The gateway in a cluster: two replicas behind a load balancer, and the source of `agent_backlog`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from infra.compose import DEFINITIONS
from infra.manifest import NAMESPACE, Manifest, manifest
from infra.namespace import GATEWAY, METRICS_PORT
from infra.pods import container, pod_spec, variables
from infra.scope import Scope
from infra.shapes import SystemPod
from infra.workload import all_definitions
from runner.agents import Agent

NAME = "gateway"
METRICS_SERVICE = "gateway-metrics"
METRICS_SECRET = "gateway-metrics-tls"  # noqa: S105 - the name of one
METRICS_API = "v1beta1.external.metrics.k8s.io"
GEOGRAPHY = "/geography"
GRACE_SECONDS = 30
SECRETS = ("WEBHOOK_SECRET", "GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "OPENAI_API_KEY")
LABELS = {**GATEWAY, "app.kubernetes.io/component": "gateway"}
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"


def geography(text: str) -> Manifest:
    """The geography as the gateway reads it."""
    return manifest("v1", "ConfigMap", "geography", data={"agent_geography.yaml": text})


def gateway(
    pod: SystemPod, image: Any, environment: dict[str, Any], definitions: Iterable[Agent]
) -> list[Manifest]:
    """Everything of the gateway but its way in from the internet. `image` and `environment` may hold outputs."""
    return [
        manifest("v1", "ServiceAccount", NAME, labels=LABELS, automountServiceAccountToken=False),
        *_metrics_access(),
        _deployment(pod, image, environment, definitions),
        _service(NAME, 80, "http"),
        _service(METRICS_SERVICE, 443, "metrics"),
        manifest(
            "policy/v1",
            "PodDisruptionBudget",
            NAME,
            labels=LABELS,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": GATEWAY}},
        ),
        _metrics_api(),
    ]


def ingress(scope: Scope, certificate_arn: Any) -> Manifest:
    """The only thing that the internet reaches: TLS at a load balancer, two paths, then the gateway's pods."""
    annotations = {
        "scheme": "internet-facing",
        "target-type": "ip",
        "listen-ports": json.dumps([{"HTTPS": 443}]),
        "certificate-arn": certificate_arn,
        "ssl-policy": TLS_POLICY,
        "healthcheck-path": "/ready",
        "load-balancer-attributes": "routing.http.drop_invalid_header_fields.enabled=true",
        # Pods finish what they have before the load balancer forgets them.
        "target-group-attributes": f"deregistration_delay.timeout_seconds={GRACE_SECONDS}",
        "tags": ",".join(f"{key}={value}" for key, value in scope.tags.items()),
    }
    paths = [
        {
            "path": path,
            "pathType": "Exact",
            "backend": {"service": {"name": NAME, "port": {"name": "http"}}},
        }
        for path in ("/webhook", "/health")
    ]
    return manifest(
        "networking.k8s.io/v1",
        "Ingress",
        NAME,
        labels=LABELS,
        annotations={f"alb.ingress.kubernetes.io/{key}": value for key, value in annotations.items()},
        # The health check of Route 53 and the load balancer call it by other names; webhooks carry a signature.
        spec={"ingressClassName": "alb", "rules": [{"http": {"paths": paths}}]},
    )


def _deployment(
    pod: SystemPod, image: Any, environment: dict[str, Any], definitions: Iterable[Agent]
) -> Manifest:
    plain = environment | {
        "AGENTS_DIR": DEFINITIONS,
        "GEOGRAPHY": f"{GEOGRAPHY}/agent_geography.yaml",
        "METRICS_PORT": str(METRICS_PORT),
        "METRICS_SECRET": METRICS_SECRET,
        "METRICS_HOST": f"{METRICS_SERVICE}.{NAMESPACE}.svc",
    }
    made = container(
        NAME,
        image,
        ["python", "-m", "runner", "gateway"],
        variables(plain, SECRETS),
        pod.requests,
        pod.limits or pod.requests,
        {"definitions": DEFINITIONS, "geography": GEOGRAPHY},
    )
    made["ports"].append({"name": "metrics", "containerPort": METRICS_PORT})
    spec = pod_spec(
        NAME,
        "critical",
        [made],
        {"geography": "geography"},
        grace_seconds=GRACE_SECONDS,
        # It keeps its own certificate for external metrics, below.
        kubernetes_token=True,
        spread=GATEWAY,
    )
    spec["volumes"].append(all_definitions(definitions))
    return manifest(
        "apps/v1",
        "Deployment",
        NAME,
        labels=LABELS,
        spec={
            "replicas": pod.replicas,
            "selector": {"matchLabels": GATEWAY},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": pod.surge},
            },
            "revisionHistoryLimit": 5,
            "template": {"metadata": {"labels": LABELS}, "spec": spec},
        },
    )


def _service(name: str, port: int, target: str) -> Manifest:
    ports = [{"name": target, "port": port, "targetPort": target}]
    return manifest("v1", "Service", name, labels=LABELS, spec={"selector": GATEWAY, "ports": ports})


def _metrics_api() -> Manifest:
    """External metrics over TLS. Issuer: an authority that the gateway makes and renews, and keeps in a Secret.

    The gateway writes that authority into `caBundle`, which is therefore left out here: a Secret of Pulumi's own
    would put a private key into its state.
    """
    group, version = METRICS_API.split(".", 1)[1], METRICS_API.split(".", 1)[0]
    return manifest(
        "apiregistration.k8s.io/v1",
        "APIService",
        METRICS_API,
        namespace=None,
        labels=LABELS,
        spec={
            "group": group,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": METRICS_SERVICE, "namespace": NAMESPACE, "port": 443},
        },
    )


def _metrics_access() -> list[Manifest]:
    """Who may do what: the autoscaler reads one metric; the gateway checks callers and keeps one certificate."""
    rbac = "rbac.authorization.k8s.io"
    itself = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    autoscaler = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}

    def rule(group: str, resource: str, verbs: list[str], *names: str) -> Manifest:
        made: Manifest = {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        return made | {"resourceNames": list(names)} if names else made

    def bound(
        kind: str, name: str, role: tuple[str, str], subject: Manifest, namespace: str | None
    ) -> Manifest:
        reference = {"apiGroup": rbac, "kind": role[0], "name": role[1]}
        return manifest(
            f"{rbac}/v1",
            kind,
            name,
            namespace=namespace,
            labels=LABELS,
            roleRef=reference,
            subjects=[subject],
        )

    backlog, certificate = "agent-backlog-reader", "gateway-metrics-certificate"
    return [
        manifest(
            f"{rbac}/v1",
            "ClusterRole",
            backlog,
            namespace=None,
            labels=LABELS,
            rules=[rule("external.metrics.k8s.io", "agent_backlog", ["get", "list"])],
        ),
        bound("ClusterRoleBinding", backlog, ("ClusterRole", backlog), autoscaler, None),
        manifest(
            f"{rbac}/v1",
            "Role",
            certificate,
            labels=LABELS,
            # `create` cannot be limited to a name.
            rules=[
                rule("", "secrets", ["create"]),
                rule("", "secrets", ["get", "update"], METRICS_SECRET),
            ],
        ),
        bound("RoleBinding", certificate, ("Role", certificate), itself, NAMESPACE),
        manifest(
            f"{rbac}/v1",
            "ClusterRole",
            certificate,
            namespace=None,
            labels=LABELS,
            rules=[rule("apiregistration.k8s.io", "apiservices", ["get", "patch"], METRICS_API)],
        ),
        bound("ClusterRoleBinding", certificate, ("ClusterRole", certificate), itself, None),
        # Kubernetes' own roles for API servers that extend it.
        bound(
            "ClusterRoleBinding", "gateway-delegator", ("ClusterRole", "system:auth-delegator"), itself, None
        ),
        bound(
            "RoleBinding",
            "gateway-request-header",
            ("Role", "extension-apiserver-authentication-reader"),
            itself,
            "kube-system",
        ),
    ]
