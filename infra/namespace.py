"""The namespace of gateway and agents: what may run in it, how much, and who may talk to whom."""

from __future__ import annotations

from collections.abc import Iterable

from infra import cache, datastore
from infra.jobs import OWNER_JOB
from infra.manifest import NAMESPACE, Manifest, manifest
from infra.pods import PORT
from infra.shapes import RegionPlan

METRICS_PORT = 8443
METADATA = "169.254.169.254/32"
POD_IDENTITY = "169.254.170.23/32"  # the agent that hands roles to pods (EKS Pod Identity)
GATEWAY = {"app.kubernetes.io/name": "gateway"}
RUNNER = {"app.kubernetes.io/name": "runner"}
EVERYWHERE = "0.0.0.0/0"
Rule = Manifest


def namespace_objects(region: RegionPlan) -> list[Manifest]:
    """The namespace under Pod Security `restricted`, its quota, and its network policies."""
    enforced = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return [
        manifest("v1", "Namespace", NAMESPACE, namespace=None, labels=enforced),
        _quota(region),
        *_network_policies(region),
    ]


def _quota(region: RegionPlan) -> Manifest:
    """Room for every maximum and every surge, and for no more: a runaway stops here."""
    working = [agent for agent in region.agents if agent.runs_on == "cloud"]
    own = [pod for pod in region.system if pod.namespace == NAMESPACE]
    pods = sum(agent.max_replicas + 1 for agent in working) + sum(pod.replicas + pod.surge for pod in own)
    return manifest(
        "v1", "ResourceQuota", "pods", spec={"hard": {"pods": str(pods), "services.loadbalancers": "0"}}
    )


def _network_policies(region: RegionPlan) -> list[Manifest]:
    data = [str(subnet.cidr) for subnet in region.subnets if subnet.kind == "data"]
    public = [str(subnet.cidr) for subnet in region.subnets if subnet.kind == "public"]
    private = [str(subnet.cidr) for subnet in region.subnets if subnet.kind == "private"]
    # GitHub, models and AWS over HTTPS; nothing inside the VPC, and never a node's own role.
    internet = {
        "to": [{"ipBlock": {"cidr": EVERYWHERE, "except": [str(region.cidr), METADATA]}}],
        "ports": _tcp(443),
    }
    stores = {"to": _blocks(data), "ports": _tcp(datastore.PORT) + _tcp(cache.PORT)}
    gateway = {"to": [{"podSelector": {"matchLabels": GATEWAY}}], "ports": _tcp(PORT)}
    # The control plane's interfaces stand in the private subnets.
    control_plane = _blocks(private)
    return [
        _policy(
            "default", {}, ingress=[], egress=[_dns(), {"to": _blocks([POD_IDENTITY]), "ports": _tcp(80)}]
        ),
        _policy("runner", RUNNER, egress=[stores, internet, gateway]),
        _policy("database", OWNER_JOB, egress=[stores, internet]),
        _policy(
            "gateway",
            GATEWAY,
            ingress=[
                {"from": _blocks(public), "ports": _tcp(PORT)},
                {"from": [{"podSelector": {"matchLabels": RUNNER}}], "ports": _tcp(PORT)},
                {"from": control_plane, "ports": _tcp(METRICS_PORT)},
            ],
            egress=[stores, internet, {"to": control_plane, "ports": _tcp(443)}],
        ),
    ]


def _policy(
    name: str, pods: dict[str, str], *, ingress: list[Rule] | None = None, egress: list[Rule] | None = None
) -> Manifest:
    spec: Manifest = {"podSelector": {"matchLabels": pods} if pods else {}, "policyTypes": []}
    if ingress is not None:
        spec["policyTypes"].append("Ingress")
        spec["ingress"] = ingress
    if egress is not None:
        spec["policyTypes"].append("Egress")
        spec["egress"] = egress
    return manifest("networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def _dns() -> Rule:
    name_servers = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return {"to": [name_servers], "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


def _blocks(cidrs: Iterable[str]) -> list[Rule]:
    return [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]


def _tcp(port: int) -> list[Rule]:
    return [{"protocol": "TCP", "port": port}]
