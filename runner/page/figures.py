"""What the plots show, computed from finished missions: their number over time, and how long they took."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

COLUMNS = 48
# Seconds a column may stand for: widths that a clock's axis can be labelled with.
_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
# Upper bounds of the histogram's bars, in seconds: three a decade, as people read logarithms.
_BOUNDS = tuple(factor * 10.0**power for power in range(-2, 6) for factor in (1, 2, 5))
_WORKED = frozenset({"done", "declined", "failed"})


@dataclass(frozen=True, slots=True)
class Ended:
    """When a mission came in and ended, and as what."""

    state: str
    accepted_at: datetime
    finished_at: datetime


def over_time(missions: Sequence[Ended]) -> dict[str, Any]:
    """Missions ended in each of at most 48 columns of time, by state.

    {"from": ms since 1970 of the first column's begin, "width": seconds, "states": {state: [count, …]}}
    """
    if not missions:
        return {"from": 0, "width": _WIDTHS[0], "states": {}}
    moments = [mission.finished_at.timestamp() for mission in missions]
    first, last = min(moments), max(moments)
    width = next((width for width in _WIDTHS if last // width - first // width < COLUMNS), None)
    if width is None:  # older than the widest axis: the newest columns are what people look at
        width = _WIDTHS[-1]
        first = last - (COLUMNS - 1) * width
    begin = int(first // width) * width
    count = int(last // width) - begin // width + 1
    states: dict[str, list[int]] = {}
    for mission, moment in zip(missions, moments, strict=True):
        if moment >= begin:
            states.setdefault(mission.state, [0] * count)[int(moment - begin) // width] += 1
    return {"from": begin * 1000, "width": width, "states": states}


def latency(missions: Sequence[Ended]) -> dict[str, Any]:
    """From the webhook's commit to the remembered outcome, over the missions that an agent worked.

    {"bounds": [upper bound of each bar in seconds, …], "counts": […], "p50": seconds or None, "p99": likewise}
    """
    seconds = sorted(
        max((mission.finished_at - mission.accepted_at).total_seconds(), 0.0)
        for mission in missions
        if mission.state in _WORKED
    )
    if not seconds:
        return {"bounds": [], "counts": [], "p50": None, "p99": None}
    bars = [min(bisect_left(_BOUNDS, value), len(_BOUNDS) - 1) for value in seconds]
    counts = [0] * (bars[-1] - bars[0] + 1)
    for bar in bars:
        counts[bar - bars[0]] += 1
    return {
        "bounds": list(_BOUNDS[bars[0] : bars[-1] + 1]),
        "counts": counts,
        "p50": round(_quantile(seconds, 0.5), 3),
        "p99": round(_quantile(seconds, 0.99), 3),
    }


def _quantile(ascending: Sequence[float], share: float) -> float:
    """Linear between neighbours, as PostgreSQL's percentile_cont."""
    place = share * (len(ascending) - 1)
    below = int(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (place - below)
