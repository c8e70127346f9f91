"""No agent may swallow the others: margins under which past works would have been shared out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

CAP = 0.15  # of the missions of a window; the proposal's limit
FEWEST = 20  # missions in a window: of fewer, one or two are 15 % without meaning anything
_FEWEST_PAST = 10  # past works from which a share is worth mending
_STEP = 0.25  # points beyond the narrowest win, or two twins would hand a work to and fro
_ROUNDS = 300

Standing = Sequence[tuple[int, float]]
"""The (agent, points) for one past work; the best few are enough."""


class Window(NamedTuple):
    """Past works of which no agent should win more than the share `aim`."""

    aim: float
    works: Sequence[Standing]


def cap_for(agents: int) -> float:
    """The largest share of one agent among `agents`: 15 %, but a small fleet cannot share out that finely."""
    return max(CAP, min(1.0, 2.0 / max(agents, 1)))


def margins(windows: Sequence[Window], agents: int, minimum: float) -> list[float]:
    """The points per agent to take off, so that no agent wins more than its share in any of `windows`.

    A work is won by the most points, if these reach `minimum`. The agent that is most over its share gives up its
    narrowest wins until it is not; so on until nobody is.
    """
    scale = cap_for(agents) / CAP
    result = [0.0] * agents
    for _ in range(_ROUNDS):
        over = [found for window in windows if (found := _over(window, result, scale, minimum))]
        if not over:
            break
        _, agent, margin = max(over)
        result[agent] = margin
    return result


def _over(
    window: Window, margin: Sequence[float], scale: float, minimum: float
) -> tuple[float, int, float] | None:
    """(share over the aim, busiest agent, the margin that brings it down), or None where nobody is over."""
    leads: dict[int, list[float]] = {}
    for standing in window.works:
        points = {agent: value - margin[agent] for agent, value in standing}
        if not points:
            continue
        winner = max(points, key=points.__getitem__)
        if points[winner] >= minimum:
            best = points.pop(winner)
            leads.setdefault(winner, []).append(best - max(minimum, *points.values(), minimum))
    won = sum(map(len, leads.values()))
    if won < _FEWEST_PAST:
        return None
    aim = window.aim * scale
    agent = max(leads, key=lambda agent: (len(leads[agent]), -agent))
    surplus = len(leads[agent]) - int(aim * won)
    if surplus <= 0:
        return None
    narrowest = sorted(leads[agent])[surplus - 1]
    return len(leads[agent]) / won - aim, agent, margin[agent] + narrowest + _STEP


def over_share(names: Iterable[str | None], cap: float = CAP) -> dict[str, float]:
    """Agent → share, for the agents with more than `cap` of a window's missions, largest first.

    `names` are the missions' agents; None (abstained) is no mission. A window of fewer than 20 counts as 20.
    """
    counts = Counter(name for name in names if name is not None)
    window = max(sum(counts.values()), FEWEST)
    return {name: count / window for name, count in counts.most_common() if count > cap * window}
