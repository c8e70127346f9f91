"""What works in a region, beside its data: images, the webhook host, and the phase's host or cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from infra.credentials import Credentials
from infra.datatier import DataTier
from infra.oncluster import OnCluster
from infra.onhost import OnHost
from infra.registry import Registry
from infra.routing import WebhookHost
from runner.agents import Agent


class Region(pulumi.ComponentResource):
    """One region of the plan. It refers to nothing in another, so that its `up` works while the other is away."""

    def __init__(
        self,
        data: DataTier,
        zone_id: pulumi.Input[str],
        definitions: Mapping[str, Agent],
        geography: str,
        github_roles: Mapping[str, pulumi.Input[str]],
    ) -> None:
        self.data = data
        self.scope = scope = data.scope
        super().__init__(
            "agents-cloud:infra:Region",
            scope.region.name,
            None,
            pulumi.ResourceOptions(providers=[data.provider]),
        )
        child = pulumi.ResourceOptions(parent=self)
        credentials = Credentials.read(pulumi.Config(), scope.region)
        for key_name in credentials.missing(scope.settings, scope.region):
            pulumi.log.warn(
                f"{scope.region.name}: set the secret {key_name} (pulumi config set --secret {key_name})"
            )
        names = [agent.resource_name for agent in scope.region.agents] + ["gateway", "migrate"]
        self.registry = Registry(scope, names, child)
        self.webhook = WebhookHost(scope, zone_id, child)
        self.outputs: dict[str, Any] = {
            "webhook": f"https://{scope.region.webhook_host}/webhook",
            "registry": self.registry.host,
            "database": data.datastore.instance.endpoint,
            "alarms": data.alarms.topic.arn,
            # Nothing is wrong, and a mail has to come; the next evaluation sets the alarm back.
            "testAlarm": f"aws cloudwatch set-alarm-state --region {scope.region.name} "
            f"--alarm-name {scope.name('errors')} --state-value ALARM --state-reason test",
        }
        self.on_cluster: OnCluster | None = None
        if scope.region.host is not None:
            on_host = OnHost(self, credentials, definitions, geography)
            self.outputs |= {"host": on_host.host.instance.id}
        else:
            self.on_cluster = OnCluster(self, credentials, definitions, geography, github_roles)
            cluster = self.on_cluster.cluster.eks
            self.outputs |= {"cluster": cluster.name, "clusterEndpoint": cluster.endpoint}
        self.register_outputs({})
