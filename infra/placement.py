"""Which agent stands in which region, and with what shape."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from errors import PlanError
from infra.fleet import Fleet
from infra.settings import ImageSettings, RegionSettings, Settings
from infra.shapes import AgentPlan, Subnet, SubnetKind
from runner.agents import Agent
from runner.geography import Geography, zone_of_region

# Images that are no agent's.
SHARED_IMAGES = ("gateway", "migrate")


def place_agents(
    agents: Sequence[Agent], geography: Geography, fleet: Fleet, settings: Settings
) -> dict[str, list[AgentPlan]]:
    """Region → its agents. Below phase 4 all stand in the home region, in phase 4 where the geography says.

    `after` is None throughout; capacity decides it. Raises PlanError that lists all that cannot be placed.
    """
    problems = [*_unknown_names(agents, settings), *_collisions(agents)]
    placed: dict[str, list[AgentPlan]] = {region.name: [] for region in settings.active_regions}
    for agent in agents:
        try:
            home = geography.region_of(agent.name)
        except KeyError:
            problems.append((f"{agent.name} stands in no region", "list it in the geography"))
            continue
        if settings.phase < 4:
            region = settings.home.name
        else:
            region = home.name
            problems += _wrong_region(agent.name, region, home.zone, settings)
        placed.setdefault(region, []).append(_agent_plan(agent, fleet, settings))
    if problems:
        raise PlanError.together([PlanError(problem, fix) for problem, fix in dict.fromkeys(problems)])
    return placed


def image_suffix(images: ImageSettings, name: str) -> str:
    """`@sha256:…` or `:TAG` of the image `name` (an agent, `gateway` or `migrate`)."""
    pin = images.pins.get(name, images.tag)
    return f"@{pin}" if pin.startswith("sha256:") else f":{pin}"


def subnets(region: RegionSettings) -> tuple[Subnet, ...]:
    """The /16 cut in four: a private /18 for each of up to three zones, public and data /24s in the rest.

    Pods take addresses by the sixteen, so that private subnets are large. The same in every phase.
    """
    quarters = list(region.cidr.subnets(new_prefix=18))
    small = list(quarters[3].subnets(new_prefix=24))
    cut: dict[SubnetKind, list[ipaddress.IPv4Network]] = {
        "public": small,
        "private": quarters,
        "data": small[8:],
    }
    return tuple(
        Subnet(f"{kind}-{zone[-1]}", kind, zone, blocks[index])
        for index, zone in enumerate(region.availability_zones)
        for kind, blocks in cut.items()
    )


def _agent_plan(agent: Agent, fleet: Fleet, settings: Settings) -> AgentPlan:
    shape = fleet.shape_of(agent.name)
    return AgentPlan(
        agent=agent.name,
        resource_name=agent.resource_name,
        digest=agent.digest,
        runs_on="actions" if agent.name in settings.actions_agents else "cloud",
        node_class=shape.node_class,
        replicas=shape.replicas,
        max_replicas=shape.max_replicas,
        requests=shape.requests,
        limits=shape.limits,
        image=image_suffix(settings.images, agent.name),
        after=None,
    )


def _wrong_region(agent: str, region: str, zone: str, settings: Settings) -> list[tuple[str, str]]:
    known = {entry.name: entry.zone for entry in settings.regions}
    if region not in known:
        return [
            (
                f"the geography puts agents in {region}, which is neither {' nor '.join(known)}",
                "set homeRegion or secondRegion to it, or move its agents",
            )
        ]
    if zone_of_region(region) != zone:
        return [
            (
                f"{agent} belongs to zone {zone}, and {region} lies in {known[region]}",
                "move it to a region of its zone",
            )
        ]
    return []


def _unknown_names(agents: Sequence[Agent], settings: Settings) -> list[tuple[str, str]]:
    names = {agent.name for agent in agents}
    wrong = [
        f"imagePins names {name}" for name in settings.images.pins if name not in names.union(SHARED_IMAGES)
    ]
    wrong += [f"actionsAgents names {name}" for name in settings.actions_agents if name not in names]
    return [(f"{what}, which is no agent", "correct the name") for what in wrong]


def _collisions(agents: Sequence[Agent]) -> list[tuple[str, str]]:
    owners: dict[str, str] = dict.fromkeys(SHARED_IMAGES, "a part of the system")
    problems: list[tuple[str, str]] = []
    for agent in agents:
        if agent.resource_name in owners:
            problems.append(
                (
                    f"{agent.name} and {owners[agent.resource_name]} share one resource name",
                    "rename the agent",
                )
            )
        owners[agent.resource_name] = agent.name
    return problems
