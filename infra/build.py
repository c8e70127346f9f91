"""The plan → resources. Regions first, each with its own providers and nothing of the other; then what joins them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.budget import Budget
from infra.datastore import BackupCopy
from infra.delivery import Delivery
from infra.peering import End, Peering
from infra.plan import Plan
from infra.region import Region
from infra.routing import new_zone
from infra.scope import Scope
from infra.settings import Settings
from runner.agents import load_agents

ROOT = Path(__file__).resolve().parent.parent


def build(settings: Settings, plan: Plan) -> dict[str, Any]:
    """Register every resource of the plan. Gives the stack's outputs."""
    definitions = {agent.name: agent for agent in load_agents(ROOT / settings.agents_dir)}
    geography = (ROOT / settings.geography_file).read_text(encoding="utf-8")
    scopes = [Scope(settings, region) for region in plan.regions]
    home = scopes[0]
    providers = {scope.region.name: region_provider(scope, scope.region.name) for scope in scopes}
    in_home = pulumi.ResourceOptions(provider=providers[home.region.name])
    zone = None if settings.hosted_zone_id else new_zone(home, in_home)
    zone_id = zone.zone_id if zone else settings.hosted_zone_id
    delivery = Delivery(home, in_home)
    regions = [
        Region(scope, providers[scope.region.name], zone_id, definitions, geography, delivery.roles["deploy"])
        for scope in scopes
    ]
    for region in regions:
        _copy_backups(region)
    if len(regions) == 2:
        Peering(*(End(region, providers[region.scope.region.name]) for region in regions))
    outputs: dict[str, Any] = {region.scope.region.name: region.outputs for region in regions}
    if settings.account_budgets:
        Budget(home, regions[0].alarms.topic, in_home)
    if zone:
        outputs["nameServers"] = zone.name_servers
    outputs["githubRoles"] = delivery.roles
    return {
        **outputs,
        "phase": settings.phase,
        "bill": {"base": str(plan.bill.base), "worst": str(plan.bill.worst)},
        "gateOverride": settings.gate.override,
    }


def _copy_backups(region: Region) -> None:
    recovery = region.scope.region.database.backup_copy_region
    if recovery is not None:
        provider = region_provider(region.scope, recovery)
        options = pulumi.ResourceOptions(parent=region, provider=provider)
        BackupCopy(region.scope, region.datastore.instance, options)


def region_provider(scope: Scope, region: str) -> aws.Provider:
    """The only way to a region. It refuses every other account and puts the tags on."""
    return aws.Provider(
        region,
        region=region,
        allowed_account_ids=[scope.settings.account_id],
        default_tags={"tags": scope.tags},
    )
