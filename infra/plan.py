"""Definitions × geography × fleet × settings × prices → the plan. Pure: no cloud, no clock, no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.bill import make_bill
from infra.capacity import fill, fill_host
from infra.connections import database_connections
from infra.fleet import Fleet
from infra.placement import place_agents, subnets
from infra.prices import Prices
from infra.settings import Phase, RegionSettings, Settings
from infra.shapes import AgentPlan, Bill, CachePlan, DatabasePlan, Finding, HostPlan, RegionPlan
from runner.agents import Agent
from runner.geography import Geography


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be created, whether it fits and what it costs. Regions: home first."""

    phase: Phase
    regions: tuple[RegionPlan, ...]
    bill: Bill
    findings: tuple[Finding, ...]
    definitions: tuple[Agent, ...]
    """Of every agent, wherever it runs."""


def make_plan(
    agents: Sequence[Agent], geography: Geography, fleet: Fleet, settings: Settings, prices: Prices
) -> Plan:
    """Place every agent exactly once, fill the nodes and add up the bill.

    Raises PlanError when something does not fit, is placed nowhere or has no price.
    """
    if settings.profile == "measured":
        fleet = fleet.with_measured_requests()
    placed = place_agents(agents, geography, fleet, settings)
    locations = {region.name: region.location for region in geography.regions}
    regions = tuple(
        _region(region, placed[region.name], locations.get(region.name, region.name), fleet, settings)
        for region in settings.active_regions
    )
    bill, used = make_bill(regions, settings, prices)
    findings = (*_findings(agents, regions, fleet), *prices.stale(used))
    return Plan(settings.phase, regions, bill, findings, tuple(agents))


def _region(
    region: RegionSettings, agents: Sequence[AgentPlan], location: str, fleet: Fleet, settings: Settings
) -> RegionPlan:
    blocks = subnets(region)
    in_cluster = settings.phase > 2
    if in_cluster:
        planned, groups, capacity = fill(agents, fleet, settings, region, blocks)
    else:
        planned, groups, capacity = tuple(agents), (), fill_host(agents, fleet, settings)
    database = settings.database
    return RegionPlan(
        name=region.name,
        zone=region.zone,
        location=location,
        home=region == settings.home,
        cidr=region.cidr,
        subnets=blocks,
        webhook_host=settings.webhook_host(region.zone),
        model_endpoint=region.model_endpoint,
        agents=planned,
        system=fleet.system if in_cluster else (),
        node_groups=groups,
        host=None if in_cluster else HostPlan(settings.host.instance_type, settings.host.disk_gb),
        database=DatabasePlan(
            engine_version=database.engine_version,
            instance_class=database.instance_class,
            multi_az=database.multi_az,
            storage_gb=database.storage_gb,
            max_storage_gb=database.max_storage_gb,
            backup_days=database.backup_days,
            max_connections=database_connections(database.instance_class),
            backup_copy_region=region.recovery_region if settings.phase == 4 else None,
        ),
        cache=CachePlan(settings.cache.node_type, settings.cache.nodes) if in_cluster else None,
        capacity=capacity,
    )


def _findings(agents: Sequence[Agent], regions: Sequence[RegionPlan], fleet: Fleet) -> list[Finding]:
    findings = []
    unused = sorted(fleet.exceptions.keys() - {agent.name for agent in agents})
    if unused:
        findings.append(Finding("fleet exceptions name agents", f"no agent is called {', '.join(unused)}"))
    for region in regions:
        capacity = region.capacity
        wanted = sum(agent.max_replicas for agent in region.agents if agent.runs_on == "cloud")
        findings += [
            Finding(
                f"{load.name} fit",
                f"{region.name}: {load.used} {load.unit} of {load.available}; lower the groups' largest sizes or "
                "choose a larger databaseClass",
            )
            for load in capacity.loads
            if not load.fits
        ]
        if capacity.short_of_maximum:
            findings.append(
                Finding(
                    "every agent can reach its maximum when the others rest",
                    f"{region.name}: {', '.join(capacity.short_of_maximum)} cannot; "
                    "raise the largest size of their node group",
                )
            )
        if region.node_groups and wanted > capacity.pods_at_most:
            findings.append(
                Finding(
                    "all agents can stand at their maximum at once",
                    f"{region.name}: {capacity.pods_at_most} agent pods of {wanted} fit at most; "
                    "further ones wait in Pending, which keeps the bill under the ceiling",
                )
            )
    return findings
