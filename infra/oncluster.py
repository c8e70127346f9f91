"""Phases 3 and 4 in a region: the cluster, the cache, and what runs there, in the order in which it may start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi
from pulumi_aws import cloudwatch, eks, iam

from infra import gateway as gateway_objects
from infra import logs as log_objects
from infra.access import Statement, allow, pod_trust, role
from infra.cache import GATEWAY, RUNNERS, Cache
from infra.cluster import Cluster
from infra.compose import DEFINITIONS
from infra.controllers import Controllers
from infra.credentials import Credentials
from infra.environment import Environment, gateway_environment, owner_environment, runner_environment
from infra.images import version
from infra.jobs import MIGRATE, cron_job, database_job
from infra.kinds import register
from infra.manifest import NAMESPACE, Manifest, manifest
from infra.namespace import namespace_objects
from infra.nodegroups import NodeGroups
from infra.pods import SECRET_VARIABLES, variables
from infra.routing import load_balancer_zone
from infra.schedule import AUDIT, SCHEDULE, SCHEDULED
from infra.shapes import AgentPlan, SystemPod
from infra.workload import definition, workload
from runner.agents import Agent

if TYPE_CHECKING:
    from infra.region import Region

# What a pod's session is tagged with (EKS Pod Identity): it may log in as the database role of its service account.
SERVICE_ACCOUNT = "${aws:PrincipalTag/kubernetes-service-account}"


class OnCluster(pulumi.ComponentResource):
    """Namespace, migration, gateway, then the agents, no more at once than the nodes have room for."""

    def __init__(
        self,
        region: Region,
        credentials: Credentials,
        definitions: Mapping[str, Agent],
        geography: str,
        github_roles: Mapping[str, pulumi.Input[str]],
    ) -> None:
        scope = region.scope
        super().__init__(
            "agents-cloud:infra:OnCluster",
            scope.resource("on-cluster"),
            None,
            pulumi.ResourceOptions(parent=region),
        )
        self._region, self._scope, self._definitions = region, scope, definitions
        child = pulumi.ResourceOptions(parent=self)
        self.cluster = Cluster(scope, region.data.network, region.data.key, github_roles, child)
        self._cache = Cache(scope, region.data.network, region.data.key, child)
        for store in (region.data.datastore.admit, self._cache.admit):
            store("cluster", group=self.cluster.node_group_id)
        nodes = NodeGroups(scope, region.data.network, self.cluster, child)
        controllers = Controllers(scope, self.cluster, region.data.network.vpc.id, nodes.groups, child)
        self._logs(nodes.groups)

        base = self._add(
            [*namespace_objects(scope.region), gateway_objects.geography(geography)], after=nodes.groups
        )
        base += self._add([definition(agent) for agent in definitions.values()], after=base[:1])
        base += self._add(_secrets(credentials), after=base[:1])
        self._owner = self._role("owner", self._owners_rights())
        self.migrated = self._migrate(base)
        address = self._gateway(self.migrated, controllers)
        region.webhook.lead_to(
            address, load_balancer_zone(scope.region.name), checked=scope.settings.phase == 4
        )
        self._agents(self.migrated)
        self._schedule(self.migrated)
        self.register_outputs({})

    def owner_environment(self) -> Environment:
        """What a job reads that works on the region's database as its owner."""
        return owner_environment(self._scope, self._region.data.datastore)

    def run_as_owner(
        self,
        name: str,
        objects: Sequence[Manifest],
        after: Sequence[pulumi.Resource],
        parent: pulumi.Resource,
    ) -> list[pulumi.Resource]:
        """Run a job whose service account `name` may fetch the owner's password."""
        association = self._associate(name, self._owner)
        options = self.cluster.in_cluster(parent, [*after, association])
        return [register(self._scope.region.name, made, options) for made in objects]

    def system(self, name: str) -> SystemPod:
        """The plan's system pod of that name."""
        return next(pod for pod in self._scope.region.system if pod.name == name)

    def _migrate(self, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        wanted = version(self._scope.settings, MIGRATE)
        image = self._region.registry.image(MIGRATE, wanted)
        env = variables(self.owner_environment() | {"AGENTS_DIR": DEFINITIONS})
        agents = list(self._definitions.values())
        objects = database_job(MIGRATE, self.system(MIGRATE), wanted, image, env, agents)
        return self.run_as_owner(MIGRATE, objects, after, self)

    def _gateway(self, after: Sequence[pulumi.Resource], controllers: Controllers) -> pulumi.Output[str]:
        """The load balancer's name."""
        region, name = self._region, gateway_objects.NAME
        identity = self._role(
            name,
            [
                allow(["rds-db:connect"], region.data.datastore.login_arn(name)),
                allow(["elasticache:Connect"], self._cache.login_arns(GATEWAY)),
            ],
        )
        environment = gateway_environment(self._scope, region.data.datastore, self._cache.url(GATEWAY))
        objects = gateway_objects.gateway(
            self.system(name),
            region.registry.image(name, version(self._scope.settings, name)),
            environment,
            self._definitions.values(),
        )
        made = self._add(objects, after=[*after, self._associate(name, identity)])
        entrance = gateway_objects.ingress(self._scope, region.webhook.certificate.certificate_arn)
        # The controller takes the load balancer away; both have to be there when the Ingress goes.
        made_entrance = register(
            self._scope.region.name,
            entrance,
            pulumi.ResourceOptions(
                parent=self, provider=self.cluster.provider, depends_on=[*made, controllers.load_balancers]
            ),
        )
        return made_entrance.status.apply(
            lambda status: str(status["loadBalancer"]["ingress"][0]["hostname"])
        )

    def _agents(self, after: Sequence[pulumi.Resource]) -> None:
        """One role for all: each session may be one database role, that of its own service account."""
        datastore = self._region.data.datastore
        identity = self._role(
            "runner",
            [
                allow(["rds-db:connect"], datastore.login_arn(f"agent-{SERVICE_ACCOUNT}")),
                allow(["elasticache:Connect"], self._cache.login_arns(RUNNERS)),
            ],
        )
        deployments: dict[str, pulumi.Resource] = {}
        for agent in self._scope.region.agents:
            if agent.runs_on == "cloud":
                # One predecessor each, not a whole batch: Pulumi searches all dependencies for each one it adds.
                before = [deployments[agent.after]] if agent.after else []
                deployments[agent.agent] = self._agent(agent, identity, after, before)

    def _agent(
        self,
        agent: AgentPlan,
        identity: iam.Role,
        after: Sequence[pulumi.Resource],
        before: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        """The Deployment of one agent, made when `before` are rolled, with all that belongs to it."""
        region = self._region
        environment = runner_environment(self._scope, region.data.datastore, agent, self._cache.url(RUNNERS))
        image = region.registry.image(agent.resource_name, agent.image)
        objects = workload(self._definitions[agent.agent], agent, image, environment)
        association = self._associate(agent.resource_name, identity)
        rest = [made for made in objects if made["kind"] != "Deployment"]
        self._add(rest, after=[*after, association])
        (deployment,) = self._add(
            [made for made in objects if made["kind"] == "Deployment"], after=[*after, *before, association]
        )
        return deployment

    def _schedule(self, after: Sequence[pulumi.Resource]) -> None:
        """What runs by the clock, as the owner; the audit also logs in as every agent, those that are retired too."""
        agents = allow(["rds-db:connect"], self._region.data.datastore.login_arn("agent-*"))
        auditor = self._role(AUDIT.command, [*self._owners_rights(), agents])
        image = self._region.registry.image(MIGRATE, version(self._scope.settings, MIGRATE))
        for scheduled in SCHEDULE:
            identity = auditor if scheduled is AUDIT else self._owner
            objects = cron_job(scheduled, self.system(SCHEDULED), image, variables(self.owner_environment()))
            self._add(objects, after=[*after, self._associate(scheduled.command, identity)])

    def _owners_rights(self) -> list[Statement]:
        """To fetch the owner's password."""
        return [
            allow(["secretsmanager:GetSecretValue"], self._region.data.datastore.secret_arn),
            allow(["kms:Decrypt"], self._region.data.key.arn),
        ]

    def _logs(self, after: Sequence[pulumi.Resource]) -> None:
        scope = self._scope
        group = cloudwatch.LogGroup(
            scope.resource("agents"),
            name=f"/agents-cloud/{scope.settings.stack}/agents",
            retention_in_days=scope.settings.log_days,
            kms_key_id=self._region.data.key.arn,
            opts=pulumi.ResourceOptions(parent=self),
        )
        pod = self.system(log_objects.NAME)
        identity = self._role(
            log_objects.NAME,
            [
                allow(
                    ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                    pulumi.Output.concat(group.arn, ":*"),
                )
            ],
        )
        association = self._associate(log_objects.NAME, identity, namespace=pod.namespace)
        objects = log_objects.logs(pod, scope.region.name, f"/agents-cloud/{scope.settings.stack}/agents")
        self._add(objects, after=[*after, association])
        self._region.data.alarms.add_errors(group)
        self._region.data.alarms.add_audit(group)

    def _add(self, objects: Sequence[Manifest], *, after: Sequence[pulumi.Resource]) -> list[pulumi.Resource]:
        options = {
            # The number of replicas of what has an autoscaler is the autoscaler's.
            scaled: self.cluster.in_cluster(self, after, ["spec.replicas"] if scaled else None)
            for scaled in (True, False)
        }
        return [register(self._scope.region.name, made, options[_is_scaled(made)]) for made in objects]

    def _role(self, what: str, statements: Sequence[Statement]) -> iam.Role:
        trust = pod_trust(self.cluster.eks.arn)
        return role(self._scope, what, trust, statements=statements, opts=pulumi.ResourceOptions(parent=self))

    def _associate(
        self, service_account: str, identity: iam.Role, namespace: str = NAMESPACE
    ) -> eks.PodIdentityAssociation:
        return eks.PodIdentityAssociation(
            self._scope.resource(f"pod-{service_account}"),
            cluster_name=self.cluster.eks.name,
            namespace=namespace,
            service_account=service_account,
            role_arn=identity.arn,
            opts=pulumi.ResourceOptions(parent=self),
        )


def _is_scaled(made: Manifest) -> bool:
    return made["kind"] == "Deployment" and "replicas" not in made["spec"]


def _secrets(credentials: Credentials) -> list[Manifest]:
    """A Secret for each holder that has a value."""
    values = {
        "OPENAI_API_KEY": credentials.model_api_key,
        "GITHUB_TOKEN": credentials.github_read_token,
        "GITHUB_APP_ID": credentials.github_app_id,
        "GITHUB_APP_PRIVATE_KEY": credentials.github_app_key,
        "WEBHOOK_SECRET": credentials.webhook_secret,
        "REPLICATION_PASSWORD": credentials.replication_password,
    }
    data: dict[str, dict[str, pulumi.Output[str]]] = {}
    for variable, value in values.items():
        if value is not None:
            holder, key = SECRET_VARIABLES[variable]
            data.setdefault(holder, {})[key] = value
    return [
        manifest("v1", "Secret", holder, type="Opaque", stringData=content)
        for holder, content in data.items()
    ]
