"""Stacks, fleets and agents to plan with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path

from infra.config import read_stack
from infra.fleet import Fleet, load_fleet
from infra.outlook import Outlook, look
from infra.plan import Plan, make_plan
from infra.prices import Prices, load_prices
from infra.settings import Settings
from infra.stack import from_config
from runner.agents import Agent, load_agents
from runner.geography import Geography, Region, load_geography

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 24)
PRESETS = {2: "dev", 3: "phase3", 4: "prod"}


@cache
def preset(stack: str) -> dict[str, object]:
    return read_stack(ROOT, stack)


def settings(stack: str = "phase3", /, **changes: object) -> Settings:
    """The settings of a preset with some keys changed."""
    return from_config(preset(stack) | changes, stack=stack)


@cache
def own_agents() -> tuple[Agent, ...]:
    return load_agents(ROOT / ".github" / "agents")


@cache
def own_geography() -> Geography:
    return load_geography(ROOT / "agent_geography.yaml", own_agents())


@cache
def own_fleet() -> Fleet:
    return load_fleet(ROOT / "infra" / "fleet.yaml")


@cache
def own_prices() -> Prices:
    return load_prices(ROOT / "infra" / "prices.yaml", TODAY)


def plan_of(stack: str = "phase3", /, **changes: object) -> Plan:
    """The plan of the project's own agents under a preset with some keys changed."""
    return make_plan(own_agents(), own_geography(), own_fleet(), settings(stack, **changes), own_prices())


@cache
def outlook_of(stack: str) -> Outlook:
    """A preset's outlook; its resources take seconds."""
    return look(ROOT, preset(stack), stack)


def agent(name: str) -> Agent:
    return Agent(name, f"{name} does one thing", (), "", "", (), "", Path(f"{name}.md"), "0" * 64)


def agents(count: int) -> tuple[Agent, ...]:
    return tuple(agent(f"agent-{number:04}") for number in range(count))


def geography(us: Sequence[Agent], eu: Sequence[Agent] = ()) -> Geography:
    """`us` in the presets' home region, `eu` in their second one."""
    return Geography(
        (
            Region("us-west-2", "San Francisco, CA", "US", tuple(one.name for one in us)),
            Region("eu-west-1", "Dublin", "EU", tuple(one.name for one in eu)),
        )
    )
