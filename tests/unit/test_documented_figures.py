"""The figures that README and the decision about the money give are those of the plan."""

from __future__ import annotations

import io
import re

import pytest

from infra.show import show
from tests.unit.stacks import PRESETS, ROOT, outlook_of, plan_of, settings

DECISION = (ROOT / "docs" / "decisions" / "0006-what-the-money-buys.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def row(label: str, text: str = DECISION) -> list[float]:
    """The numbers of the table row that begins with `label`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
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
        lean = plan_of(stack, profile="measured").bill.base
        limit = settings(stack).limits.budget
        assert measured == [float(lean), round(lean / limit * 100), round(lean / bill.base * 100)]


@pytest.mark.parametrize("kind", ["compute", "database", "services"])
def test_the_split_of_phase_4_is_the_plans(kind: str) -> None:
    bill = plan_of("prod").bill
    split = {name: round(bill.total(kind=name)) for name in ("compute", "database", "services")}
    assert row(kind)[0] == split[kind]


@pytest.mark.parametrize(("phase", "stack"), PRESETS.items())
def test_readmes_bills_are_the_plans_and_its_commands_name_the_stack(phase: int, stack: str) -> None:
    bill, limits = plan_of(stack).bill, settings(stack).limits
    line = next(line for line in README.splitlines() if line.startswith(f"| {phase} |"))
    assert f"`pulumi up -s {stack}`" in line
    money = line.split("|", 4)[4].replace(",", "")
    assert [float(number) for number in re.findall(r"\d+(?:\.\d+)?", money)] == [
        float(bill.base),
        limits.budget,
        float(bill.worst),
        limits.ceiling,
    ]
    if phase > 2:
        lean = plan_of(stack, profile="measured").bill.base
        assert f"phase {phase} costs ${lean:,.2f}" in README or f"phase {phase} ${lean:,.2f}" in README


@pytest.mark.parametrize("stack", PRESETS.values())
def test_what_readme_shows_of_a_preview_is_what_it_prints(stack: str) -> None:
    page = io.StringIO()
    show(outlook_of(stack), page)
    printed = [line.rstrip() for line in page.getvalue().splitlines()]
    (excerpt,) = re.findall(rf"```\n(Stack {stack}:[^`]*)```", README)
    left = iter(printed)
    # In the order of the preview; `…` is what was left out.
    missing = [line for line in excerpt.splitlines() if line != "…" and line not in left]
    assert missing == []
