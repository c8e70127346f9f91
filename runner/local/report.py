"""The report of a run: what became of every issue, counted from PostgreSQL and from the local GitHub itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from database.connect import Pool

_STATES = "SELECT state, count(*) AS count FROM missions GROUP BY state"
# An issue whose newest mission is not final, or that has none at all, is lost; the caller knows how many there are.
_ENDED = """
SELECT count(*) FROM (
    SELECT bool_or(state IN ('waiting', 'queued', 'running')) AS live FROM missions GROUP BY repository, issue_number
) AS issues WHERE NOT live
"""
# One mission, one outcome; one issue, one mission that was worked for the same event.
_DOUBLED = """
SELECT (SELECT count(*) FROM (SELECT FROM agent_memories GROUP BY mission_id HAVING count(*) > 1) AS outcomes)
     + (SELECT count(*) FROM (SELECT FROM missions WHERE state IN ('done', 'failed') AND event = 'opened'
                              GROUP BY repository, issue_number HAVING count(*) > 1) AS worked)
"""
_BY_AGENT = """
SELECT agent_name, count(*) AS count FROM missions
WHERE agent_name IS NOT NULL AND state <> 'cancelled' GROUP BY agent_name ORDER BY count DESC, agent_name
"""
_LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - accepted_at) * 1000)
FROM missions WHERE state IN ('done', 'declined', 'failed')
"""
_RECALL = """
SELECT count(recalled) AS asked, count(*) FILTER (WHERE jsonb_array_length(recalled) > 0) AS hit FROM missions
"""


async def report_of(
    pool: Pool, *, agents: Sequence[str], issues: int, doubled_effects: int, seconds: float
) -> dict[str, Any]:
    """The JSON of `--report`. `latency_ms` runs from the webhook's commit to the remembered outcome."""
    states: Mapping[str, int] = {row["state"]: row["count"] for row in await pool.fetch(_STATES)}
    by_agent = {row["agent_name"]: row["count"] for row in await pool.fetch(_BY_AGENT)}
    p50, p99 = await pool.fetchval(_LATENCY) or (None, None)
    recall = await pool.fetchrow(_RECALL)
    assert recall is not None
    return {
        "agents": len(agents),
        "issues": issues,
        "missions": {state: states.get(state, 0) for state in ("done", "declined", "abstained", "failed")},
        "lost": issues - min(issues, await pool.fetchval(_ENDED)),
        "duplicates": await pool.fetchval(_DOUBLED) + doubled_effects,
        "by_agent": by_agent,
        "seconds": round(seconds, 2),
        "latency_ms": {
            "p50": None if p50 is None else round(p50, 1),
            "p99": None if p99 is None else round(p99, 1),
        },
        "recall": {"asked": recall["asked"], "hit": recall["hit"]},
    }
