"""Everything that is known about a stack without a cloud account: its plan, its resources, and what the rules say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from infra.fleet import load_fleet
from infra.gate import ask_gate
from infra.plan import Plan, make_plan
from infra.policy.judge import judge
from infra.prices import Prices, load_prices
from infra.record import record
from infra.settings import Settings
from infra.shapes import Resource, Verdict
from infra.stack import from_config
from runner.agents import load_agents
from runner.geography import load_geography

PRICES = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True, slots=True)
class Outlook:
    """A stack as it would be."""

    settings: Settings
    plan: Plan
    resources: tuple[Resource, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def allowed(self) -> bool:
        """Whether no rule is broken."""
        return all(verdict.passed for verdict in self.verdicts)


def plan_stack(root: Path, config: Mapping[str, object], stack: str) -> tuple[Settings, Plan]:
    """Settings and plan of `stack`. Paths in `config` are from `root` where they are relative.

    Raises InputError where configuration, definitions, geography, fleet or prices are wrong or do not fit together.
    """
    settings = from_config(config, stack=stack)
    agents = load_agents(root / settings.agents_dir)
    geography = load_geography(root / settings.geography_file, agents)
    fleet = load_fleet(root / settings.fleet_file)
    return settings, make_plan(agents, geography, fleet, settings, _prices())


def look(root: Path, config: Mapping[str, object], stack: str) -> Outlook:
    """The outlook of `stack`, offline. Raises InputError as `plan_stack` does, and for a resource of unknown cost."""
    settings, plan = plan_stack(root, config, stack)
    resources = tuple(record(settings, plan))
    _prices().refuse_unpriced(resource.type for resource in resources)
    verdicts = (ask_gate(root, settings), *judge(settings, plan, resources))
    return Outlook(settings, plan, resources, verdicts)


@cache
def _prices() -> Prices:
    return load_prices(PRICES, datetime.now(UTC).date())
