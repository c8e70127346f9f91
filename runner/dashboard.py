"""`python -m runner dashboard`: how agents do and what memory is worth, as tables in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from database.connect import failures_named, open_pool
from database.performance import dashboard

_BAR = 40  # columns of the longest bar


async def show_dashboard(url: str, *, as_json: bool) -> int:
    """Read it with the gateway's role at `url` and print it; the exit code. Raises Unavailable and SettingsError."""
    console = Console()
    with failures_named():
        async with open_pool(url, most=1, application="dashboard") as pool:
            data = await dashboard(pool)
    if as_json:
        console.print_json(json.dumps(data))
    else:
        for part in (
            _groups(data),
            _agents(data),
            _hits(data),
            _trends(data),
            _learning(data),
            _similarity(data),
            _vectors(data["vectors"]),
        ):
            console.print(part)
    return 0


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _groups(data: Mapping[str, Any]) -> Table:
    table = Table(
        title="Groups", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in ("group", "agents", "meaning"):
        table.add_column(column)
    for name, group in data["groups"].items():
        agents = group["agents"]
        named = ", ".join(agents[:5]) + (f" and {len(agents) - 5} more" if len(agents) > 5 else "")
        table.add_row(name, named or "none", group["meaning"])
    return table


def _agents(data: Mapping[str, Any]) -> Table:
    table = _table("Agents", "agent", "missions", "right", "surely", "minutes", "memories", "hits")
    table.columns[0].no_wrap = True
    for each in data["agents"]:
        low, high = each["surely_above"], each["surely_below"]
        table.add_row(
            each["agent"],
            str(each["missions"]),
            f"{each['successes']}/{each['successes'] + each['failures']}",
            "–" if low is None else f"{100 * low:.0f}–{high:.0%}",
            _number(each["minutes"]),
            str(each["memories"]),
            f"{each['hits']}/{each['asked']}",
        )
    return table


def _hits(data: Mapping[str, Any]) -> Table:
    hit = data["hit_rate"]
    table = _table("Memory hit rate", "", "share", "of")
    table.add_row(
        "given similar work",
        f"{_percent(hit['rate'])} {_span(hit['low'], hit['high'], _percent)}",
        f"{hit['asked']} missions",
    )
    table.add_row(
        "had any proven work to recall", _percent(hit["knew_something_rate"]), f"{hit['asked']} missions"
    )
    table.add_row(
        "have related earlier work, by files", _percent(hit["related_rate"]), f"{hit['works']} proven works"
    )
    return table


def _trends(data: Mapping[str, Any]) -> Table:
    table = _table("Weeks", "from", "outcomes", "right", "success rate", "hit rate", "minutes")
    for week in data["trends"]["all"]:
        table.add_row(
            week["week"],
            str(week["outcomes"]),
            str(week["successes"]),
            _percent(week["success_rate"]),
            _percent(week["hit_rate"]),
            _number(week["minutes"]),
        )
    return table


def _learning(data: Mapping[str, Any]) -> Table:
    table = _table(
        "Learning (95 % intervals; success among all missions taken)",
        "missions",
        "count",
        "not judged",
        "declined",
        "hit rate",
        "success rate",
        "typical minutes",
    )
    titles = {"arm": "arm {}", "recalled": "{}", "experience": "an agent's {}"}
    for kind, title in titles.items():
        for point in data["learning"][kind]:
            table.add_row(
                title.format(point["name"]),
                str(point["missions"]),
                str(point["pending"]),
                str(point["declined"]),
                f"{_percent(point['hit_rate'])} {_span(point['hit_low'], point['hit_high'], _percent)}",
                f"{_percent(point['success_rate'])} {_span(point['success_low'], point['success_high'], _percent)}",
                f"{_number(point['minutes'])} {_span(point['minutes_low'], point['minutes_high'], _number)}",
            )
    effect = data["learning"]["effect"]
    gained, saved = (
        f"{_percent(effect[key])} {_span(effect[f'{key}_low'], effect[f'{key}_high'], _percent)}"
        for key in ("success_gained", "time_saved")
    )
    table.add_row("what memory gains and saves", "", "", "", "", gained, saved)
    return table


def _similarity(data: Mapping[str, Any]) -> Table:
    table = Table(
        title="Similarity of recalled work",
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
    )
    most = max((each["count"] for each in data["similarity"]), default=1)
    for each in data["similarity"]:
        bar = "█" * max(1, round(_BAR * each["count"] / most))
        table.add_row(f"{each['from']:.2f}–{each['to']:.2f}", bar, str(each["count"]))
    return table


def _vectors(vectors: Mapping[str, Any]) -> str:
    if vectors["model"] is None:
        return "Nothing is embedded yet: words alone count."
    if not vectors["calibrated"]:
        return (
            f"Words alone count: nobody has calibrated {vectors['model']}, so its vectors choose candidates only"
            " (`python -m bench.calibrate --history FILE --write`)."
        )
    return f"Words count together with the vectors of {vectors['model']}, which is calibrated."


def _span(low: float | None, high: float | None, show: Callable[[float | None], str]) -> str:
    return "" if low is None or high is None else f"({show(low)} to {show(high)})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"  # of what no model worked, a few milliseconds
