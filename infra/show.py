"""The preview for a person: resources as a tree, how full things are, the bill against its limits, the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby
from typing import TextIO, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from infra.outlook import Outlook
from infra.shapes import Kind, RegionPlan, Resource

WIDTH = 118  # where the output is no terminal
BAR = 30  # characters of a full bar
# The proposal's own split of its $1,200 for phase 4.
PROPOSAL: dict[Kind, int] = {"compute": 800, "database": 250, "services": 150}


def show(outlook: Outlook, file: TextIO) -> None:
    """Write the preview of a stack to `file`."""
    console = Console(file=file, highlight=False, width=None if file.isatty() else WIDTH)
    settings, plan = outlook.settings, outlook.plan
    console.print(f"[bold]Stack {settings.stack}: phase {plan.phase}, profile {settings.profile}[/]")
    console.print(_tree(outlook))
    console.print(_capacity(plan.regions))
    for line in _notes(plan.regions):
        console.print(line)
    console.print(_lines(outlook))
    for line in (*_bars(outlook), "", *_costs(outlook), "", *_findings(outlook)):
        console.print(line)
    for line in _rules(outlook, passed=True):
        console.print(line, no_wrap=True, overflow="ellipsis")
    for line in _rules(outlook, passed=False):  # last, where the eye is
        console.print(line)


def _tree(outlook: Outlook) -> Tree:
    tree = Tree(f"[bold]{len(outlook.resources)} resources[/]")
    order = [region.name for region in outlook.plan.regions]
    by_region = sorted(
        outlook.resources,
        key=lambda resource: (
            order.index(resource.region) if resource.region in order else len(order),
            resource.region,
            resource.component,
            resource.type,
            resource.name,
        ),
    )
    for region, of_region in groupby(by_region, key=lambda resource: resource.region):
        members = list(of_region)
        branch = tree.add(f"[bold]{region or 'everywhere'}[/] · {len(members)}")
        for component, of_component in groupby(members, key=lambda resource: resource.component):
            twig = branch.add(component or "the stack itself")
            for kind, of_kind in groupby(of_component, key=lambda resource: resource.type):
                twig.add(_leaf(kind, list(of_kind)))
    return tree


def _leaf(kind: str, resources: list[Resource]) -> str:
    """`ConfigMap × 66  a … z`: a fleet's objects would fill pages one by one."""
    names = [resource.name for resource in resources]
    listed = ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]}"
    return (
        f"{kind.rsplit(':', 1)[-1]}{f' × {len(names)}' if len(names) > 1 else ''}  [dim]{escape(listed)}[/]"
    )


def _capacity(regions: Iterable[RegionPlan]) -> Table:
    table = Table(title="Capacity", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("region", "what", "used", "of", ""):
        table.add_column(name, justify="right" if name in ("used", "of") else "left")
    for region in regions:
        for load in region.capacity.loads:
            share = load.used / load.available if load.available else 1.0
            bar = _bar(share, "green")
            table.add_row(region.name, load.name, f"{load.used:,}", f"{load.available:,} {load.unit}", bar)
        for group in region.node_groups:
            kind = "spot" if group.spot else "on demand"
            table.add_row(
                region.name,
                f"{group.name} nodes ({' or '.join(group.instance_types)}, {kind})",
                str(group.nodes_at_rest),
                f"{group.max_size} nodes",
                "",
            )
    return table


def _notes(regions: Iterable[RegionPlan]) -> Iterator[str]:
    for region in regions:
        capacity = region.capacity
        yield (
            f"{region.name}: {len(region.agents)} agents, {capacity.pods_at_rest} pods at rest, "
            f"{capacity.pods_at_most} at most"
        )
        if region.node_groups:
            yield (
                f"[dim]  a new image reaches all in {capacity.rollout_steps} steps without downtime; with measured "
                f"requests {capacity.measured_nodes_at_rest} such nodes would do, and all would hold "
                f"{capacity.measured_pods_at_most} pods[/]"
            )
    yield ""


def _lines(outlook: Outlook) -> Table:
    table = Table(title="Bill, USD a month", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("region")
    table.add_column("item")
    for name in ("quantity", "at most", "unit price", "at rest", "worst"):
        table.add_column(name, justify="right")
    table.add_column("price")
    for line in outlook.plan.bill.lines:
        table.add_row(
            line.region,
            line.item,
            f"{line.quantity:,f} {line.unit}",
            f"{line.most:,f}" if line.most != line.quantity else "",
            f"{line.unit_price:f}",
            f"{line.monthly:,.2f}",
            f"{line.worst:,.2f}",
            "seen" if line.seen else "[yellow]assumed[/]",
        )
    return table


def _bars(outlook: Outlook) -> Iterator[str]:
    bill, limits = outlook.plan.bill, outlook.settings.limits
    for region in outlook.plan.regions:
        for kind in get_args(Kind):
            part = bill.total(kind=kind, region=region.name)
            yield f"{region.name:<14}{kind:<10}{_money(part)} {_bar(float(part / limits.budget), 'cyan')}"
    for label, amount, limit, name in (
        ("at rest", bill.base, limits.budget, "budget"),
        ("worst", bill.worst, limits.ceiling, "ceiling"),
    ):
        colour = "green" if amount <= limit else "red"
        share = float(amount / limit)
        yield f"[bold]{label:<24}{_money(amount)}[/] {_bar(share, colour)} {share:.0%} of the {name} ${limit:,}"


def _costs(outlook: Outlook) -> Iterator[str]:
    bill, settings = outlook.plan.bill, outlook.settings
    yield (
        f"${bill.annual:,.2f} a year · ${bill.per_agent} an agent and month · ${bill.per_mission} a mission at "
        f"{settings.missions_a_month:,} a month"
    )
    if bill.spot_saving_percent:
        yield f"Spot saves {bill.spot_saving_percent} % on spot nodes, {bill.compute_saving_percent} % on all nodes"
    models = settings.models
    yield (
        f"Models cost beside this at most ${models.monthly_cap_usd:,f} a month, ${models.daily_cap_usd:,f} a day, "
        f"${models.mission_cap_usd:,f} a mission"
    )
    for actions, more in bill.break_even:
        word = "more" if more > 0 else "less"
        yield f"${abs(more):,.2f} {word} than GitHub Actions at ${actions:,} a month"
    if outlook.plan.phase == 4:
        ours = ", ".join(f"{kind} {bill.total(kind=kind):,.0f}" for kind in PROPOSAL)
        theirs = ", ".join(f"{kind} {dollars}" for kind, dollars in PROPOSAL.items())
        yield f"Split: {ours}; the proposal's: {theirs}"


def _findings(outlook: Outlook) -> Iterator[str]:
    for finding in outlook.plan.findings:
        yield f"[yellow]note[/]    {finding.rule}: {escape(finding.message)}"


def _rules(outlook: Outlook, *, passed: bool) -> Iterator[str]:
    mark = "[green]holds[/]  " if passed else "[red]broken[/] "
    for verdict in outlook.verdicts:
        if verdict.passed == passed:
            yield f"{mark} {verdict.name}: {escape(verdict.message)}"


def _money(amount: Decimal) -> str:
    return f"${amount:>10,.2f}"


def _bar(share: float, colour: str) -> str:
    """A bar that is full at a share of 1 and stays full, red, above."""
    filled = min(BAR, max(1 if share > 0 else 0, round(share * BAR)))
    return f"[{'red' if share > 1 else colour}]{'█' * filled}[/][dim]{'░' * (BAR - filled)}[/]"
