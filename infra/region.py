"""Everything that one region holds: the data tier in every phase, and what works on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.alarms import Alarms, database_alarms
from infra.credentials import Credentials
from infra.datastore import Datastore
from infra.key import region_key
from infra.network import Network
from infra.oncluster import OnCluster
from infra.onhost import OnHost
from infra.registry import Registry
from infra.routing import WebhookHost
from infra.scope import Scope
from runner.agents import Agent


class Region(pulumi.ComponentResource):
    """One region of the plan. It refers to nothing in another, so that its `up` works while the other is away."""

    def __init__(
        self,
        scope: Scope,
        provider: aws.Provider,
        zone_id: pulumi.Input[str],
        definitions: Mapping[str, Agent],
        geography: str,
        deploy_role: pulumi.Input[str],
    ) -> None:
        super().__init__(
            "agents-cloud:infra:Region", scope.region.name, None, pulumi.ResourceOptions(providers=[provider])
        )
        self.scope = scope
        child = pulumi.ResourceOptions(parent=self)
        credentials = Credentials.read(pulumi.Config(), scope.region)
        for key_name in credentials.missing(scope.settings, scope.region):
            pulumi.log.warn(
                f"{scope.region.name}: set the secret {key_name} (pulumi config set --secret {key_name})"
            )
        self.key = region_key(scope, self)
        self.network = Network(scope, nat=bool(scope.region.node_groups), opts=child)
        self.alarms = Alarms(scope, self.key, child)
        self.datastore = Datastore(scope, self.network, self.key, child)
        for alarm in database_alarms(self.datastore.instance.identifier, scope.region.database):
            self.alarms.add(alarm)
        names = [agent.resource_name for agent in scope.region.agents] + ["gateway", "migrate"]
        self.registry = Registry(scope, names, child)
        self.webhook = WebhookHost(scope, zone_id, child)
        self.outputs: dict[str, Any] = {
            "webhook": f"https://{scope.region.webhook_host}/webhook",
            "registry": self.registry.host,
            "database": self.datastore.instance.endpoint,
            "alarms": self.alarms.topic.arn,
        }
        self.on_cluster: OnCluster | None = None
        if scope.region.host is not None:
            on_host = OnHost(self, credentials, definitions, geography)
            self.outputs |= {"host": on_host.host.instance.id}
        else:
            self.on_cluster = OnCluster(self, credentials, definitions, geography, deploy_role)
            cluster = self.on_cluster.cluster.eks
            self.outputs |= {"cluster": cluster.name, "clusterEndpoint": cluster.endpoint}
        self.register_outputs({})
