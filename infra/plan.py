"""Definitions × geography × fleet × settings × prices → the plan. Pure: no cloud, no clock, no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.fleet import Fleet
from infra.prices import Prices
from infra.settings import Phase, Settings
from infra.shapes import Bill, Finding, RegionPlan
from runner.agents import Agent
from runner.geography import Geography


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be created, whether it fits and what it costs. Regions: home first."""

    phase: Phase
    regions: tuple[RegionPlan, ...]
    bill: Bill
    findings: tuple[Finding, ...]


def make_plan(agents: Sequence[Agent], geography: Geography, fleet: Fleet, settings: Settings, prices: Prices) -> Plan:
    """Place every agent exactly once, fill the nodes and add up the bill.

    Raises PlanError when something does not fit, is placed nowhere or has no price.
    """
    raise NotImplementedError
