"""Missions of the past with their outcomes, as many as a test wants, written straight into the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from database.connect import Connection


@dataclass(frozen=True, slots=True)
class Past:
    """One mission that ended `days` ago. `similarities`: of what was recalled; None where memory was not asked."""

    agent: str
    state: str = "succeeded"
    arm: str = "memory"
    minutes: float = 12.0
    days: float = 1.0
    similarities: Sequence[float] | None = ()
    files: Sequence[str] = ()


_MISSIONS = """
INSERT INTO missions (id, repository, issue_number, event, title, body, zone, region, agent_name, state, arm, recalled,
                      accepted_at, claimed_at, finished_at)
SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(number), 12, '0'))::uuid, 'o/r', number, 'opened',
       'SECRET title ' || number, 'SECRET body', 'US', 'us-west-2', agent, 'done', arm, recalled::jsonb,
       ended - make_interval(secs => minutes * 60 + 5), ended - make_interval(secs => minutes * 60), ended
FROM unnest($1::text[], $2::text[], $3::float8[], $4::timestamptz[], $5::text[])
    WITH ORDINALITY AS past (agent, arm, minutes, ended, recalled, number)
"""
_OUTCOMES = """
INSERT INTO agent_memories (agent_name, mission_id, agent_specialization, repository, issue_number, issue_title,
                            issue_body, solution_approach, state, proven_by, proven_at, arm, recalled_count,
                            resolution_time_minutes, files, created_at, stored_at)
SELECT m.agent_name, m.id, 'x', m.repository, m.issue_number, m.title, m.body, 'SECRET solution', past.state, 'a test',
       CASE WHEN past.state = 'succeeded' THEN m.finished_at END, m.arm,
       coalesce(jsonb_array_length(m.recalled), 0),
       extract(epoch FROM m.finished_at - m.claimed_at) / 60,
       coalesce(string_to_array(nullif(past.files, ''), ' '), '{}'), m.finished_at, m.finished_at
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS past (state, files, number)
JOIN missions m ON m.issue_number = past.number AND m.title LIKE 'SECRET%'
"""
_STATISTICS = """
UPDATE agent_performance p SET total_missions = o.total, successful_missions = o.right, failed_missions = o.wrong,
    avg_resolution_time_minutes = o.minutes, timed_missions = o.total
FROM (SELECT agent_name, count(*) AS total, count(*) FILTER (WHERE state = 'succeeded') AS right,
             count(*) FILTER (WHERE state = 'failed') AS wrong, avg(resolution_time_minutes) AS minutes
      FROM agent_memories GROUP BY agent_name) AS o
WHERE o.agent_name = p.agent_name
"""


async def write_past(owner: Connection, missions: Sequence[Past]) -> None:
    """Write them once into a database without missions, with their outcomes and the statistics."""
    now = datetime.now(UTC)
    await owner.execute(
        _MISSIONS,
        [each.agent for each in missions],
        [each.arm for each in missions],
        [each.minutes for each in missions],
        [now - timedelta(days=each.days) for each in missions],
        [_recalled(each.similarities) if each.arm == "memory" else None for each in missions],
    )
    states, files = [each.state for each in missions], [" ".join(each.files) for each in missions]
    await owner.execute(_OUTCOMES, states, files)
    await owner.execute(_STATISTICS)


def recalled_entry(**fields: Any) -> dict[str, Any]:
    """One recalled work as a runner notes it."""
    work = {
        "memory_id": str(UUID(int=1)),
        "issue_number": 1,
        "issue_title": "Earlier",
        "similarity": 0.83,
        "why": "y",
    }
    return {**work, **fields}


def _recalled(similarities: Sequence[float] | None) -> str | None:
    if similarities is None:
        return None
    works = [
        recalled_entry(similarity=each, issue_title="SECRET earlier title", why="SECRET why")
        for each in similarities
    ]
    return json.dumps(works)
