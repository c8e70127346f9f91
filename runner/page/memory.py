"""What the page tells of memory: the figures of `python -m runner dashboard`, small enough to be sent to a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from database.connect import Pool
from database.performance import dashboard

SECONDS = 10.0
"""Between two rounds of queries, however many look: these go through all missions."""
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """A `feed.Source`. It reads with the gateway's role and holds figures and names of agents, no text of an issue."""

    pool: Pool

    async def snapshot(self) -> dict[str, Any]:
        """Raises one of `database.connect.AWAY` where PostgreSQL is away."""
        data = await dashboard(self.pool)
        figures: dict[str, Any] = _rounded({**data, "trends": data["trends"]["all"]})
        weeks = {week["week"]: place for place, week in enumerate(data["trends"]["all"])}
        for agent in figures["agents"]:
            agent["weeks"] = _short(data["trends"]["agents"].get(agent["agent"], ()), weeks)
        return figures

    def away(self) -> list[dict[str, str]]:
        return []


def _short(trend: Sequence[Mapping[str, Any]], weeks: Mapping[str, int]) -> list[list[int]]:
    """[place of the week, successes, failures] of each week with any, because there may be a thousand agents."""
    return [[weeks[week["week"]], week["successes"], week["failures"]] for week in trend]


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value, _DIGITS)
        case dict():
            return {key: _rounded(each) for key, each in value.items()}
        case list():
            return [_rounded(each) for each in value]
        case _:
            return value
