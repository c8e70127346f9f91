"""The figures that the decision about the money gives are those of the plan."""

from __future__ import annotations

import re

import pytest

from tests.unit.stacks import PRESETS, ROOT, plan_of

DECISION = (ROOT / "docs" / "decisions" / "0006-what-the-money-buys.md").read_text(encoding="utf-8")


def row(label: str) -> list[float]:
    """The numbers of the table row that begins with `label`."""
    line = next(line for line in DECISION.splitlines() if line.startswith(f"| {label} |"))
    return [
        float(number.replace(",", ""))
        for number in re.findall(r"\$?(\d[\d,]*(?:\.\d+)?)", line.split("|", 2)[2])
    ]


@pytest.mark.parametrize(("phase", "stack"), PRESETS.items())
def test_bills_budgets_and_ceilings_are_the_plans(phase: int, stack: str) -> None:
    bill = plan_of(stack).bill
    at_rest, _, worst, _, *measured = row(f"phase {phase}")
    assert (at_rest, worst) == (float(bill.base), float(bill.worst))
    if measured:
        assert measured[0] == float(plan_of(stack, profile="measured").bill.base)


@pytest.mark.parametrize("kind", ["compute", "database", "services"])
def test_the_split_of_phase_4_is_the_plans(kind: str) -> None:
    bill = plan_of("prod").bill
    split = {name: round(bill.total(kind=name)) for name in ("compute", "database", "services")}
    assert row(kind)[0] == split[kind]
