"""Which agents a repository's issues may go to, and where the chosen one works: zone first, then geography."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.agents import Agent
from runner.geography import Geography, Region, Zone
from runner.issue import Issue

ZONE_LABEL = "zone:"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a mission goes. Without a region it fails closed, for `reason`."""

    zone: Zone
    region: str | None
    reason: str


def zone_of_issue(issue: Issue, repository_zone: Zone) -> Zone:
    """The repository's zone; a label `zone:EU` tightens it, and nothing loosens it."""
    asks_for_eu = f"{ZONE_LABEL}eu" in (label.lower() for label in issue.labels)
    return "EU" if asks_for_eu or repository_zone == "EU" else "US"


def may_serve(region: Region, zone: Zone) -> bool:
    """EU data stays in the EU; data of the US may be worked in either zone."""
    return zone != "EU" or region.zone == "EU"


def agents_of_zone(agents: Sequence[Agent], geography: Geography, zone: Zone) -> tuple[Agent, ...]:
    """The agents that may see an issue of `zone`."""
    allowed = {name for region in geography.regions if may_serve(region, zone) for name in region.agents}
    return tuple(agent for agent in agents if agent.name in allowed)


def route(agent: str, zone: Zone, geography: Geography) -> Route:
    """The region where `agent` works an issue of `zone`."""
    region = geography.region_of(agent)
    if not may_serve(region, zone):
        return Route(zone, None, f"{agent} lives in {region.name}, and data of zone {zone} may not go there")
    return Route(zone, region.name, f"{agent} lives in {region.name} ({region.location})")
