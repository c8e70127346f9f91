"""Phase 2 in a region: the host, the files that it runs, and the door for webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pulumi

from infra.alarms import Alarm
from infra.compose import agent_file, shared_file
from infra.credentials import Credentials
from infra.environment import gateway_environment, owner_url, runner_environment
from infra.frontdoor import FrontDoor
from infra.host import Host
from infra.images import version
from infra.parameters import store
from infra.release import Release
from infra.shapes import AgentPlan
from runner.agents import Agent

if TYPE_CHECKING:
    from infra.region import Region

REDIS = "redis://redis:6379/0"


class OnHost(pulumi.ComponentResource):
    """Agents, gateway, Redis and migration on one machine, beside the region's database."""

    def __init__(
        self, region: Region, credentials: Credentials, definitions: Mapping[str, Agent], geography: str
    ) -> None:
        scope = region.scope
        super().__init__(
            "agents-cloud:infra:OnHost",
            scope.resource("on-host"),
            None,
            pulumi.ResourceOptions(parent=region),
        )
        child = pulumi.ResourceOptions(parent=self)
        files = _files(region, definitions) | {"agent_geography.yaml": geography}
        release = Release(scope, region.data.key, files, child)
        parameters = store(scope, region.data.key, credentials, self)
        self.host = Host(
            scope,
            region.data.network,
            region.data.datastore,
            region.data.key,
            release,
            region.registry.host,
            parameters,
            child,
        )
        door = FrontDoor(
            scope, region.data.network, self.host, region.data.key, region.webhook.certificate, child
        )
        target = door.domain.domain_name_configuration
        region.webhook.lead_to(target["target_domain_name"], target["hosted_zone_id"], checked=False)
        region.data.alarms.add_errors(self.host.logs)
        region.data.alarms.add_audit(self.host.logs)
        region.data.alarms.add(
            Alarm(
                "host",
                "The host fails its status checks",
                "AWS/EC2",
                "StatusCheckFailed",
                0,
                {"InstanceId": self.host.instance.id},
                statistic="Maximum",
                periods=2,
                missing="breaching",
            )
        )
        self.register_outputs({})


def _files(region: Region, definitions: Mapping[str, Agent]) -> dict[str, pulumi.Input[str]]:
    """The compose file and one fragment an agent. What is known only in AWS is filled in as they are made."""
    scope, datastore, registry = region.scope, region.data.datastore, region.registry
    planned = [agent for agent in scope.region.agents if agent.runs_on == "cloud"]
    images = {name: registry.image(name, version(scope.settings, name)) for name in ("gateway", "migrate")}
    environment = {
        "gateway": gateway_environment(scope, datastore, REDIS)
        | {"AGENTS_DIR": "/definitions", "GEOGRAPHY": "/agent_geography.yaml"},
        "migrate": {
            "DATABASE_URL": owner_url(datastore, "${OWNER_PASSWORD}"),
            "AWS_REGION": scope.region.name,
        },
    }
    files: dict[str, pulumi.Input[str]] = {
        "compose.yaml": pulumi.Output.all(images=images, environment=environment).apply(
            lambda known: shared_file(known["images"], known["environment"], planned)
        )
    }
    for agent in planned:
        definition = definitions[agent.agent]
        files[f"agents/{agent.resource_name}.yaml"] = _fragment(region, agent, definition)
        files[f"definitions/{definition.path.name}"] = definition.path.read_text(encoding="utf-8")
    return files


def _fragment(region: Region, agent: AgentPlan, definition: Agent) -> pulumi.Output[str]:
    image = region.registry.image(agent.resource_name, agent.image)
    environment = runner_environment(region.scope, region.data.datastore, agent, REDIS)
    known = pulumi.Output.all(image=image, environment=environment)
    return known.apply(lambda known: agent_file(definition, agent, known["image"], known["environment"]))
