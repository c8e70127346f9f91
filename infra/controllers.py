"""Two controllers that EKS has no add-on for: load balancers from Ingress, and nodes from pending pods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_aws import eks

from infra.access import Statement, pod_trust, role
from infra.cluster import Cluster
from infra.data import read_yaml
from infra.kinds import Object
from infra.manifest import CLASS_LABEL
from infra.scope import Scope

SYSTEM = "kube-system"
LOAD_BALANCER_CONTROLLER, AUTOSCALER = "aws-load-balancer-controller", "cluster-autoscaler"
# name → (chart repository, chart version)
CHARTS = {
    LOAD_BALANCER_CONTROLLER: ("https://aws.github.io/eks-charts", "1.13.4"),
    AUTOSCALER: ("https://kubernetes.github.io/autoscaler", "9.50.1"),
}
RIGHTS = Path(__file__).with_name("controllers.yaml")


class Controllers(pulumi.ComponentResource):
    """Helm releases at pinned versions; each controller takes a role of its own by Pod Identity."""

    def __init__(
        self,
        scope: Scope,
        cluster: Cluster,
        vpc_id: pulumi.Input[str],
        groups: Sequence[eks.NodeGroup],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("agents-cloud:infra:Controllers", scope.resource("controllers"), None, opts)
        self._scope, self._cluster, self._groups = scope, cluster, groups
        # No WAF, no Shield: rights for them are not given either.
        self.load_balancers = self._release(
            LOAD_BALANCER_CONTROLLER,
            {
                "clusterName": cluster.eks.name,
                "region": scope.region.name,
                "vpcId": vpc_id,
                "enableShield": False,
                "enableWaf": False,
                "enableWafv2": False,
                "serviceAccount": {"name": LOAD_BALANCER_CONTROLLER},
                # A new one on every release would make every `up` a change.
                "keepTLSSecret": True,
            },
        )
        self._release(
            AUTOSCALER,
            {
                "autoDiscovery": {"clusterName": cluster.eks.name},
                "awsRegion": scope.region.name,
                "rbac": {"serviceAccount": {"name": AUTOSCALER}},
                "fullnameOverride": AUTOSCALER,
                "image": {"tag": f"v{scope.settings.cluster.version}.0"},
                "extraArgs": {
                    "balance-similar-node-groups": True,
                    "expander": "least-waste",
                    "skip-nodes-with-system-pods": False,
                },
            },
        )
        self.register_outputs({})

    def _release(self, name: str, values: dict[str, Any]) -> Object:
        scope, cluster = self._scope, self._cluster
        child = pulumi.ResourceOptions(parent=self)
        identity = role(
            scope, name, pod_trust(cluster.eks.arn), statements=_rights(name, scope.prefix), opts=child
        )
        association = eks.PodIdentityAssociation(
            scope.resource(f"pod-{name}"),
            cluster_name=cluster.eks.name,
            namespace=SYSTEM,
            service_account=name,
            role_arn=identity.arn,
            opts=child,
        )
        pod = next(pod for pod in scope.region.system if pod.name == name)
        repository, version = CHARTS[name]
        limits = {"limits": pod.limits.quantities} if pod.limits else {}
        return Object(
            "kubernetes:helm.sh/v3:Release",
            scope.resource(name),
            {
                "name": name,
                "chart": name,
                "version": version,
                "repositoryOpts": {"repo": repository},
                "namespace": SYSTEM,
                "values": {
                    "replicaCount": pod.replicas,
                    "nodeSelector": {CLASS_LABEL: "critical"},
                    "resources": {"requests": pod.requests.quantities, **limits},
                    **values,
                },
                "compat": "true",  # as the SDK's class says it
            },
            # Not `deleted_with` the cluster: load balancers go by its hand while it still runs.
            opts=pulumi.ResourceOptions(
                parent=self, provider=cluster.provider, depends_on=[association, *self._groups]
            ),
        )


def _rights(name: str, cluster: str) -> list[Statement]:
    """The controller's statements in `controllers.yaml`, for this cluster."""
    statements: list[Statement] = read_yaml(RIGHTS, CLUSTER=cluster)[name]
    return [{"Effect": "Allow", **statement} for statement in statements]
