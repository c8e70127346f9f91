"""The plan → resources. Regions first, each with its own providers and nothing of the other; then what joins them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pulumi

from infra.budget import Budget
from infra.datatier import DataTier
from infra.delivery import Delivery
from infra.leaving import OUTPUT as DATA_REGIONS
from infra.leaving import keep_data
from infra.peering import Peering
from infra.plan import Plan
from infra.region import Region
from infra.routing import new_zone
from infra.scope import Scope
from infra.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def build(settings: Settings, plan: Plan, widest: Callable[[], Plan] | None = None) -> dict[str, Any]:
    """Register every resource of the plan. Gives the stack's outputs.

    `widest` gives the plan of phase 4 to a stack below it, which keeps what a former phase 4 left.
    """
    definitions = {agent.name: agent for agent in plan.definitions}
    geography = (ROOT / settings.geography_file).read_text(encoding="utf-8")
    tiers = [DataTier(Scope(settings, region)) for region in plan.regions]
    home = tiers[0]
    in_home = pulumi.ResourceOptions(provider=home.provider)
    zone = None if settings.hosted_zone_id else new_zone(home.scope, in_home)
    zone_id = zone.zone_id if zone else settings.hosted_zone_id
    delivery = Delivery(home.scope, in_home)
    regions = [Region(tier, zone_id, definitions, geography, delivery.roles) for tier in tiers]
    if len(regions) == 2:
        Peering(*regions)
    if settings.account_budgets:
        Budget(home.scope, home.alarms.topic, in_home)
    return {
        **{region.scope.region.name: region.outputs for region in regions},
        DATA_REGIONS: _data_regions(settings, tiers, widest),
        "phase": settings.phase,
        "bill": {"base": str(plan.bill.base), "worst": str(plan.bill.worst)},
        "gateOverride": settings.gate.override,
        "githubRoles": delivery.roles,
        "nameServers": zone.name_servers if zone else None,
    }


def _data_regions(
    settings: Settings, tiers: Sequence[DataTier], widest: Callable[[], Plan] | None
) -> pulumi.Input[list[str]]:
    if widest is None or not settings.protect:
        return [tier.scope.region.name for tier in tiers[1:]]
    return keep_data(tiers[0], widest)
