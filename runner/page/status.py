"""One round of queries → one snapshot: everything that the page shows at a glance, in JSON's types."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import redis.asyncio

from database.connect import Connection, Pool
from database.outbox import MAX_EFFECT_ATTEMPTS
from runner.geography import Geography
from runner.health import Health
from runner.match.fair_share import cap_for, over_share
from runner.page.briefs import milliseconds, read_briefs
from runner.page.figures import Ended, latency, over_time
from runner.presence import PRESENCE_SECONDS, living_runners
from runner.stream import AWAY as REDIS_AWAY

MISSIONS = 50
"""Rows of missions in a snapshot."""
WINDOW = 200
"""Newest missions in which no agent should have more than its share."""
_RUNNING_AND_QUEUED = 35
_FINISHED = 500  # of these the plots tell
_LATEST = 5  # failures, effects and misroutes listed
_STATES = ("waiting", "queued", "running", "done", "declined", "abstained", "failed", "cancelled")

_BY_AGENT = """
SELECT agent_name, count(*) FILTER (WHERE state = 'running') AS running,
       count(*) FILTER (WHERE state IN ('waiting', 'queued')) AS queued, count(*) FILTER (WHERE state = 'done') AS done,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state IN ('declined', 'cancelled')) AS other,
       count(recalled) AS asked, count(*) FILTER (WHERE recalled <> '[]') AS hit,
       count(*) FILTER (WHERE arm = 'control') AS control, count(misrouted_from) AS misrouted,
       sum(cost_usd) FILTER (WHERE cost_usd > 0 AND accepted_at >= (SELECT date_trunc('month', now(), 'UTC'))) AS usd
FROM missions GROUP BY agent_name
"""
# An issue stands where its newest mission stands: one that was cancelled and given to another agent counts once.
_ISSUES = """
SELECT state, count(*) AS count FROM (
    SELECT DISTINCT ON (issue_number, repository) state FROM missions
    ORDER BY issue_number, repository, accepted_at DESC) AS newest
GROUP BY state
"""
_LIVE = """
SELECT id FROM missions WHERE state IN ('waiting', 'queued', 'running')
ORDER BY state = 'running' DESC, coalesce(claimed_at, accepted_at) DESC LIMIT $1
"""
_ENDED = """
SELECT id, state, accepted_at, finished_at, misrouted_from IS NOT NULL AS misrouted FROM missions
WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id LIMIT $1
"""
_WINDOW = """
SELECT agent_name FROM missions WHERE agent_name IS NOT NULL AND state <> 'cancelled'
ORDER BY accepted_at DESC, id LIMIT $1
"""
_OUTCOMES = """
SELECT coalesce(sum(total_missions), 0) AS outcomes, coalesce(sum(successful_missions), 0) AS proven,
       coalesce(sum(failed_missions), 0) AS refuted
FROM agent_performance
"""
_MONEY = """
SELECT c.scope, c.usd AS cap, coalesce(t.usd, 0) AS usd
FROM spending_caps c LEFT JOIN spending_totals t ON t.scope = c.scope
    AND t.period = to_char(now() AT TIME ZONE 'UTC', CASE c.scope WHEN 'day' THEN 'YYYY-MM-DD' ELSE 'YYYY-MM' END)
"""
_EFFECTS = """
SELECT o.kind, o.mission_id, o.attempts >= $2 AS refused, left(o.error, 160) AS error, m.issue_number
FROM outbox o JOIN missions m ON m.id = o.mission_id
WHERE o.done_at IS NULL AND o.kind <> 'wake' AND o.error IS NOT NULL
ORDER BY o.id DESC LIMIT $1
"""
_BACKLOG = """
SELECT (SELECT count(*) FROM inbox WHERE processed_at IS NULL) AS deliveries,
       count(*) FILTER (WHERE kind <> 'wake' AND attempts < $1) AS effects,
       count(*) FILTER (WHERE kind <> 'wake' AND attempts >= $1) AS refused
FROM outbox WHERE done_at IS NULL
"""
_PAUSES = "SELECT scope, paused_by, left(reason, 160) AS reason, paused_at FROM pauses ORDER BY paused_at DESC LIMIT 50"


@dataclass(slots=True)
class Status:
    """Where snapshots come from. It reads with the gateway's role and writes nothing."""

    pool: Pool
    redis: redis.asyncio.Redis | None
    health: Health
    geography: Geography
    zone: str
    executor: str
    web: str
    """Address that issues' links start with."""
    _presence: Mapping[str, bool] | None = None
    _presence_error: str = "no Redis is configured"
    _presence_at: float = field(default=float("-inf"))

    async def snapshot(self) -> dict[str, Any]:
        """Raises one of `database.connect.AWAY` where PostgreSQL is away; Redis may be."""
        await self._look_for_runners()
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await self._read(connection)

    def away(self) -> list[dict[str, str]]:
        """Each dependency that is away, and why."""
        away = dict(self.health.away)
        if self._presence is None:
            away.setdefault("redis", self._presence_error)
        return [{"what": what, "why": why[:200]} for what, why in sorted(away.items())]

    async def _look_for_runners(self) -> None:
        if self.redis is None or time.monotonic() - self._presence_at < PRESENCE_SECONDS / 2:
            return
        try:
            self._presence = await living_runners(self.redis)
        except REDIS_AWAY as away:
            self._presence, self._presence_error = None, f"who is ready is unknown ({type(away).__name__})"
        self._presence_at = time.monotonic()

    async def _read(self, connection: Connection) -> dict[str, Any]:
        by_agent = await connection.fetch(_BY_AGENT)
        ended = await connection.fetch(_ENDED, _FINISHED)
        live = [row["id"] for row in await connection.fetch(_LIVE, _RUNNING_AND_QUEUED)]
        finished = [row["id"] for row in ended[: MISSIONS - len(live)]]
        failed = [row["id"] for row in ended if row["state"] == "failed"][:_LATEST]
        misrouted = [row["id"] for row in ended if row["misrouted"]][:_LATEST]
        briefs = await read_briefs(connection, {*live, *finished, *failed, *misrouted}, self.web)
        times = [Ended(row["state"], row["accepted_at"], row["finished_at"]) for row in ended]
        return {
            "zone": self.zone,
            "executor": self.executor,
            "away": self.away(),
            "issues": _counts({row["state"]: row["count"] for row in await connection.fetch(_ISSUES)}),
            "regions": self._regions(by_agent),
            "missions": [briefs[mission] for mission in (*live, *finished) if mission in briefs],
            "memory": await _memory(connection, by_agent),
            "money": await _money(connection, by_agent),
            "misroutes": {
                "count": sum(row["misrouted"] for row in by_agent),
                "latest": _short(briefs, misrouted, "misroutedFrom"),
            },
            "shares": await self._shares(connection),
            "errors": {
                "count": sum(row["failed"] for row in by_agent),
                "failed": _short(briefs, failed, "reason"),
                **await _waiting(connection),
            },
            "overTime": over_time(times),
            "latency": latency(times),
        }

    def _regions(self, by_agent: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
        """Agents as short lists, because there may be a thousand: name, presence, and five counts of missions."""
        counts = {row["agent_name"]: list(row.values())[1:6] for row in by_agent}
        none = [0, 0, 0, 0, 0]
        return [
            {
                "name": region.name,
                "location": region.location,
                "zone": region.zone,
                "drafts": list(region.drafts),
                "agents": [
                    [agent, self._present(agent), *counts.get(agent, none)] for agent in region.agents
                ],
            }
            for region in self.geography.regions
        ]

    def _present(self, agent: str) -> str:
        if self._presence is None:
            return "unknown"
        ready = self._presence.get(agent)
        return "away" if ready is None else "ready" if ready else "starting"

    async def _shares(self, connection: Connection) -> dict[str, Any]:
        names = [row["agent_name"] for row in await connection.fetch(_WINDOW, WINDOW)]
        cap = cap_for(sum(len(region.agents) for region in self.geography.regions))
        over = [{"agent": agent, "share": round(share, 3)} for agent, share in over_share(names, cap).items()]
        return {"window": len(names), "cap": cap, "over": over}


async def _memory(connection: Connection, by_agent: Sequence[asyncpg.Record]) -> dict[str, int]:
    row = await connection.fetchrow(_OUTCOMES)
    assert row is not None
    return {
        "asked": sum(row["asked"] for row in by_agent),
        "hit": sum(row["hit"] for row in by_agent),
        "control": sum(row["control"] for row in by_agent),
        "proven": row["proven"],
        "refuted": row["refuted"],
        "pending": row["outcomes"] - row["proven"] - row["refuted"],
    }


async def _money(connection: Connection, by_agent: Sequence[asyncpg.Record]) -> dict[str, Any]:
    """Dollars; reserved ones count as spent until they are settled. `agents`: who spent most this month."""
    scopes = {row["scope"]: row for row in await connection.fetch(_MONEY)}
    return {
        **{
            scope: {"usd": float(scopes[scope]["usd"]), "cap": float(scopes[scope]["cap"])}
            for scope in ("day", "month")
        },
        "missionCap": float(scopes["mission"]["cap"]),
        "agents": [
            {"agent": row["agent_name"], "usd": float(row["usd"])}
            for row in heapq.nlargest(5, by_agent, key=lambda row: row["usd"] or 0)
            if row["usd"] and row["agent_name"] is not None
        ],
    }


async def _waiting(connection: Connection) -> dict[str, Any]:
    """What waits, is stuck or was stopped."""
    backlog = await connection.fetchrow(_BACKLOG, MAX_EFFECT_ATTEMPTS)
    assert backlog is not None
    return {
        "deliveriesWaiting": backlog["deliveries"],
        "effectsWaiting": backlog["effects"],
        "effectsRefused": backlog["refused"],
        "effects": [
            {
                "kind": row["kind"],
                "mission": str(row["mission_id"]),
                "number": row["issue_number"],
                "refused": row["refused"],
                "error": row["error"],
            }
            for row in await connection.fetch(_EFFECTS, _LATEST, MAX_EFFECT_ATTEMPTS)
        ],
        "pauses": [
            {
                "scope": row["scope"],
                "by": row["paused_by"],
                "reason": row["reason"],
                "since": milliseconds(row["paused_at"]),
            }
            for row in await connection.fetch(_PAUSES)
        ],
    }


def _counts(states: Mapping[str, int]) -> dict[str, int]:
    return {state: states.get(state, 0) for state in _STATES}


def _short(
    briefs: Mapping[UUID, Mapping[str, Any]], missions: Sequence[UUID], what: str
) -> list[dict[str, Any]]:
    keys = ("id", "number", "title", "agent", "finished", what)
    return [{key: briefs[mission][key] for key in keys} for mission in missions if mission in briefs]
