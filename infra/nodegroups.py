"""Managed node groups on Graviton: `critical` on demand, `flex` on spot. Their largest size bounds the bill."""

from __future__ import annotations

import base64
import json

import pulumi
from pulumi_aws import ec2, eks, iam

from infra.access import pod_trust, role, service_trust
from infra.cluster import Cluster
from infra.manifest import CLASS_LABEL, SPOT_TAINT
from infra.network import Network
from infra.scope import Scope
from infra.shapes import NodeGroupPlan


class NodeGroups(pulumi.ComponentResource):
    """The groups of the plan. Pods that do not tolerate spot stand on `critical`."""

    def __init__(
        self, scope: Scope, network: Network, cluster: Cluster, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("agents-cloud:infra:NodeGroups", scope.resource("nodes"), None, opts)
        child = pulumi.ResourceOptions(parent=self)
        identity = role(
            scope,
            "node",
            service_trust("ec2.amazonaws.com"),
            # The CNI's policy is not here: only its own pods take it (see `vpc-cni`).
            managed=[
                "AmazonEKSWorkerNodePolicy",
                "AmazonEC2ContainerRegistryPullOnly",
                "AmazonSSMManagedInstanceCore",
            ],
            opts=child,
        )
        cni = role(scope, "vpc-cni", pod_trust(cluster.eks.arn), managed=["AmazonEKS_CNI_Policy"], opts=child)
        network_addon = cluster.addon(
            "vpc-cni",
            {
                "enableNetworkPolicy": "true",
                "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"},
            },
            service_account="aws-node",
            role_arn=cni.arn,
            after=[cluster.identity_agent],
        )
        proxy = cluster.addon("kube-proxy")
        ready = [network_addon, proxy, cluster.identity_agent]
        self.groups = [
            self._group(scope, network, cluster, identity, plan, ready) for plan in scope.region.node_groups
        ]
        for addon in ("coredns", "metrics-server"):
            cluster.addon(addon, after=list(self.groups))
        self.register_outputs({})

    def _group(
        self,
        scope: Scope,
        network: Network,
        cluster: Cluster,
        identity: iam.Role,
        plan: NodeGroupPlan,
        ready: list[eks.Addon],
    ) -> eks.NodeGroup:
        template = ec2.LaunchTemplate(
            scope.resource(f"{plan.name}-nodes"),
            name=scope.name(f"{plan.name}-nodes"),
            update_default_version=True,
            # One hop: a pod cannot reach the node's own role.
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
            },
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_size": plan.disk_gb,
                        "volume_type": "gp3",
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            credit_specification=_credits(plan.instance_types),
            user_data=_node_config(plan),
            tag_specifications=[
                {"resource_type": kind, "tags": {"Name": scope.name(plan.name), **scope.tags}}
                for kind in ("instance", "volume")
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        return eks.NodeGroup(
            scope.resource(plan.name),
            cluster_name=cluster.eks.name,
            node_group_name=plan.name,
            node_role_arn=identity.arn,
            subnet_ids=network.ids("private"),
            version=cluster.eks.version,
            ami_type="AL2023_ARM_64_STANDARD",
            capacity_type="SPOT" if plan.spot else "ON_DEMAND",
            instance_types=list(plan.instance_types),
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            scaling_config={
                "min_size": plan.min_size,
                "max_size": plan.max_size,
                "desired_size": max(plan.nodes_at_rest, plan.min_size),
            },
            update_config={"max_unavailable": 1},
            node_repair_config={"enabled": True},
            labels={CLASS_LABEL: plan.name},
            taints=[{"key": SPOT_TAINT, "value": "true", "effect": "NO_SCHEDULE"}] if plan.spot else None,
            # From the first node on, the number of nodes is the autoscaler's.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=ready, ignore_changes=["scalingConfig.desiredSize"]
            ),
        )


def _credits(instance_types: tuple[str, ...]) -> dict[str, str] | None:
    """Surplus credits cost money. EC2 refuses the setting for types that have none, so a mixed group goes without.

    There, the account's default for t4g has to be `standard` (docs/deploy.md, bootstrap).
    """
    burstable = all(instance_type.startswith("t") for instance_type in instance_types)
    return {"cpu_credits": "standard"} if burstable else None


def _node_config(plan: NodeGroupPlan) -> str:
    """User data that nodeadm merges: pods and reserves as planned, whatever the instance type would suggest."""
    reserved = {
        "cpu": f"{plan.kube_reserved.cpu_millicores}m",
        "memory": f"{plan.kube_reserved.memory_mib}Mi",
    }
    config = {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": {"kubelet": {"config": {"maxPods": plan.max_pods, "kubeReserved": reserved}}},
    }
    mime = "\n".join(
        [
            "MIME-Version: 1.0",
            'Content-Type: multipart/mixed; boundary="//"',
            "",
            "--//",
            "Content-Type: application/node.eks.aws",
            "",
            json.dumps(config, indent=1),  # JSON is YAML
            "--//--",
            "",
        ]
    )
    return base64.b64encode(mime.encode()).decode()
