"""The EKS control plane of a region: who may use it, its add-ons, and the provider for objects in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_aws import cloudwatch, eks, kms

from infra.access import role, service_trust
from infra.network import Network
from infra.scope import Scope

# API calls of the audit log would be metered by the GB; who asked for a token is small and enough to follow a person.
LOGS = ("authenticator",)


class Cluster(pulumi.ComponentResource):
    """An EKS cluster in standard support with API access entries: there is no aws-auth ConfigMap to lose."""

    def __init__(
        self,
        scope: Scope,
        network: Network,
        key: kms.Key,
        github_roles: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("agents-cloud:infra:Cluster", scope.resource("cluster"), None, opts)
        self._scope = scope
        settings = scope.settings.cluster
        child = pulumi.ResourceOptions(parent=self)
        name = scope.prefix
        logs = cloudwatch.LogGroup(
            scope.resource("cluster"),
            name=f"/aws/eks/{name}/cluster",
            retention_in_days=scope.settings.log_days,
            kms_key_id=key.arn,
            opts=child,
        )
        identity = role(
            scope,
            "cluster",
            service_trust("eks.amazonaws.com"),
            managed=["AmazonEKSClusterPolicy"],
            opts=child,
        )
        public = settings.endpoint == "public"
        self.eks = eks.Cluster(
            scope.resource("cluster"),
            name=name,
            version=settings.version,
            role_arn=identity.arn,
            # The creator gets no hidden entry: where a workflow makes the cluster, its own would collide with that.
            access_config={
                "authentication_mode": "API",
                "bootstrap_cluster_creator_admin_permissions": False,
            },
            bootstrap_self_managed_addons=False,
            # Extended support costs six times as much; AWS upgrades instead when standard support ends.
            upgrade_policy={"support_type": "STANDARD"},
            enabled_cluster_log_types=list(LOGS),
            encryption_config={"provider": {"key_arn": key.arn}, "resources": ["secrets"]},
            vpc_config={
                "subnet_ids": network.ids("private"),
                "endpoint_private_access": True,
                "endpoint_public_access": public,
                "public_access_cidrs": list(settings.endpoint_cidrs) if public else None,
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs, identity]),
        )
        self.node_group_id = self.eks.vpc_config["cluster_security_group_id"]
        self.authority = self.eks.certificate_authority["data"]
        if not settings.admin_principals:
            pulumi.log.warn(
                f"{scope.region.name}: only the role `deploy` administers the cluster; for an `up` by hand, "
                "add your own role to adminPrincipals"
            )
        administrators = [
            self._let_in(f"admin-{number}", principal, "AmazonEKSClusterAdminPolicy")
            for number, principal in enumerate([github_roles["deploy"], *settings.admin_principals])
        ]
        # A pull request's preview reads all but Secrets; Pulumi then compares without the API server's dry run.
        self._let_in("viewer", github_roles["preview"], "AmazonEKSViewPolicy")
        # The CNI and the agent that gives pods their roles come before nodes: without them none gets ready.
        self.identity_agent = self.addon("eks-pod-identity-agent")
        self.provider = kubernetes.Provider(
            f"{scope.region.name}-cluster",
            kubeconfig=self._kubeconfig(),
            # A kubeconfig that is not known yet must not look like another cluster, which would replace every object.
            cluster_identifier=f"{name}.{scope.region.name}",
            # Whoever runs `pulumi` is let in by an entry of its own, before the first object and until the last.
            opts=pulumi.ResourceOptions(parent=self, depends_on=administrators),
        )
        self.register_outputs({})

    def addon(
        self,
        name: str,
        configuration: dict[str, object] | None = None,
        *,
        service_account: str | None = None,
        role_arn: pulumi.Input[str] | None = None,
        after: list[pulumi.Resource] | None = None,
    ) -> eks.Addon:
        """An add-on that EKS keeps; with `role_arn`, its `service_account` takes that role by Pod Identity."""
        associations = None
        if role_arn is not None:
            associations = [{"service_account": service_account, "role_arn": role_arn}]
        return eks.Addon(
            self._scope.resource(f"addon-{name}"),
            addon_name=name,
            cluster_name=self.eks.name,
            configuration_values=json.dumps(configuration, sort_keys=True) if configuration else None,
            pod_identity_associations=associations,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            opts=pulumi.ResourceOptions(parent=self, depends_on=after),
        )

    def in_cluster(
        self, parent: pulumi.Resource, after: Sequence[pulumi.Resource], ignored: list[str] | None = None
    ) -> pulumi.ResourceOptions:
        """Options of an object in the cluster. With the cluster it goes at once, without a call for each."""
        return pulumi.ResourceOptions(
            parent=parent,
            provider=self.provider,
            deleted_with=self.eks,
            depends_on=list(after),
            ignore_changes=ignored,
        )

    def _let_in(self, what: str, principal: pulumi.Input[str], policy: str) -> pulumi.Resource:
        """Let an IAM principal do in the cluster what an access policy of EKS says."""
        child = pulumi.ResourceOptions(parent=self)
        entry = eks.AccessEntry(
            self._scope.resource(what), cluster_name=self.eks.name, principal_arn=principal, opts=child
        )
        allowed: pulumi.Resource = eks.AccessPolicyAssociation(
            self._scope.resource(what),
            cluster_name=self.eks.name,
            principal_arn=entry.principal_arn,
            policy_arn=f"arn:aws:eks::aws:cluster-access-policy/{policy}",
            access_scope={"type": "cluster"},
            opts=child,
        )
        return allowed

    def _kubeconfig(self) -> pulumi.Output[str]:
        """Whoever runs `pulumi` gets a token of a quarter of an hour for their own AWS identity; none is stored."""
        command = [
            "eks",
            "get-token",
            "--cluster-name",
            self._scope.prefix,
            "--region",
            self._scope.region.name,
        ]
        return pulumi.Output.json_dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "cluster",
                "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "operator"}}],
                "clusters": [
                    {
                        "name": "cluster",
                        "cluster": {
                            "server": self.eks.endpoint,
                            "certificate-authority-data": self.authority,
                        },
                    }
                ],
                "users": [
                    {
                        "name": "operator",
                        "user": {
                            "exec": {
                                "apiVersion": "client.authentication.k8s.io/v1",
                                "command": "aws",
                                "args": command,
                                "interactiveMode": "Never",
                            }
                        },
                    }
                ],
            }
        )
