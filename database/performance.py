"""How agents do and what memory is worth: groups, trends, hit rate, learning curve, similarity; for the gateway's role.

The rule for the groups stands once, in SQL (`standing`, migration 0006): an agent enters a group when at least 10
judged missions show it with 95 % confidence, by Wilson's one-sided bound. One failure eliminates nobody.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeAlias

import asyncpg

from database.calibration import is_calibrated
from database.connect import Pool
from database.similarity import landmarks
from database.vectors import current_space

GROUPS: Mapping[str, str] = {
    "hall of fame": "surely at least 85 % right",
    "high performer": "surely at least 70 % right",
    "unproven": "fewer than 10 judged missions, or figures that do not tell yet",
    "needs improvement": "surely less than 70 % right",
    "quarantined": "surely less than 50 % right: consider `python -m runner pause AGENT`",
    "eliminated": "surely less than 30 % right: consider `python -m runner pause AGENT`",
}
WEEKS = 26
"""How far back trends go."""
_WORKS_COMPARED = 5_000  # newest proven works that tell how often a hit was possible

# Memories are what an agent can recall: a success that tells no solution, or was erased, counts in its record alone.
_AGENTS = """
SELECT a.agent_name AS agent, coalesce(p.standing, 'unproven') AS "group",
       coalesce(p.total_missions, 0) AS missions, coalesce(p.successful_missions, 0) AS successes,
       coalesce(p.failed_missions, 0) AS failures, coalesce(p.success_rate, 0) AS success_rate,
       wilson_bound(p.successful_missions, p.successful_missions + p.failed_missions, false, 1.645) AS surely_above,
       wilson_bound(p.successful_missions, p.successful_missions + p.failed_missions, true, 1.645) AS surely_below,
       p.avg_resolution_time_minutes AS minutes, coalesce(r.memories, 0) AS memories, coalesce(v.vectors, 0) AS vectors,
       coalesce(pg_total_relation_size(to_regclass('agent_memories_' || a.agent_id)), 0)
       + coalesce(pg_total_relation_size(to_regclass('agent_memory_embeddings_' || a.agent_id)), 0) AS bytes,
       coalesce(h.asked, 0) AS asked, coalesce(h.hits, 0) AS hits
FROM agents a LEFT JOIN agent_performance p USING (agent_name)
LEFT JOIN (SELECT agent_name, count(*) AS memories FROM agent_memories
           WHERE state = 'succeeded' AND solution_approach <> '' AND erased_at IS NULL
           GROUP BY agent_name) r USING (agent_name)
LEFT JOIN (SELECT agent_name, count(*) AS vectors FROM agent_memory_embeddings GROUP BY agent_name) v USING (agent_name)
LEFT JOIN (SELECT agent_name, count(recalled) AS asked, count(*) FILTER (WHERE recalled <> '[]') AS hits
           FROM missions WHERE arm = 'memory' GROUP BY agent_name) h USING (agent_name)
ORDER BY coalesce(p.success_rate, 0) DESC, coalesce(p.total_missions, 0) DESC, a.agent_name
"""
# What stood in an agent's memory when it asked bounds what it could be given. A past work that was loaded was proven
# long before anybody here could recall it. Whoever was given something knew it, though it may be no success any more.
_HITS = """
WITH first AS (
    SELECT agent_name, min(greatest(proven_at, stored_at)) AS known_at FROM agent_memories
    WHERE state = 'succeeded' AND solution_approach <> '' GROUP BY agent_name),
asked AS (
    SELECT recalled <> '[]' AS hit,
           recalled <> '[]' OR coalesce(first.known_at < coalesce(m.claimed_at, m.accepted_at), false) AS knew
    FROM missions m LEFT JOIN first USING (agent_name) WHERE arm = 'memory' AND recalled IS NOT NULL)
SELECT count(*) AS asked, count(*) FILTER (WHERE hit) AS hits, count(*) FILTER (WHERE knew) AS knew_something,
       wilson_bound(count(*) FILTER (WHERE hit), count(*), false, 1.96) AS low,
       wilson_bound(count(*) FILTER (WHERE hit), count(*), true, 1.96) AS high
FROM asked
"""
# A mission could be given what stood here when it asked; of a work that was loaded it is told what it could have been.
_WORKS = """
SELECT w.agent_name, w.files, w.proven_at, greatest(w.proven_at, w.stored_at) AS known_at, w.backfilled,
       CASE WHEN w.backfilled THEN w.proven_at ELSE coalesce(m.claimed_at, w.created_at) END AS asked_at
FROM (SELECT * FROM agent_memories WHERE state = 'succeeded' AND files <> '{}' AND solution_approach <> ''
      ORDER BY proven_at DESC LIMIT $1) AS w
LEFT JOIN missions m ON m.id = w.mission_id
"""
_TRENDS = """
WITH outcomes AS (
    SELECT agent_name, date_trunc('week', created_at, 'UTC') AS week, count(*) AS outcomes,
           count(*) FILTER (WHERE state = 'succeeded') AS successes,
           count(*) FILTER (WHERE state = 'failed') AS failures,
           sum(resolution_time_minutes) FILTER (WHERE NOT backfilled) AS minutes,
           count(resolution_time_minutes) FILTER (WHERE NOT backfilled) AS timed
    FROM agent_memories WHERE created_at >= date_trunc('week', now(), 'UTC') - make_interval(weeks => $1 - 1)
    GROUP BY 1, 2),
recalls AS (
    SELECT agent_name, date_trunc('week', finished_at, 'UTC') AS week, count(recalled) AS asked,
           count(*) FILTER (WHERE recalled <> '[]') AS hits
    FROM missions  -- one that was for nobody has no agent, and asked nobody
    WHERE arm = 'memory' AND recalled IS NOT NULL
      AND finished_at >= date_trunc('week', now(), 'UTC') - make_interval(weeks => $1 - 1)
    GROUP BY 1, 2)
SELECT agent_name AS agent, to_char(week AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS week, coalesce(outcomes, 0) AS outcomes,
       coalesce(successes, 0) AS successes, coalesce(failures, 0) AS failures, minutes, coalesce(timed, 0) AS timed,
       coalesce(asked, 0) AS asked, coalesce(hits, 0) AS hits
FROM outcomes FULL JOIN recalls USING (agent_name, week) ORDER BY week, agent
"""
# Every mission that an agent took counts in its arm, judged or not, declined or not (intention to treat): whether there
# is anything to judge may itself depend on memory. Times are skewed: the mean of their logarithms, and its normal
# interval, tell the typical one. Nothing is quicker than a millisecond, so that every time has a logarithm.
# Outcomes tell it, not their missions, which are pruned earlier and which an erased outcome does not name any more. A
# declined mission leaves no outcome, so it is no experience: that it is pruned moves no other one. Whoever works with
# memory asks it; the few that failed before they could count as given nothing.
_CURVE = """
WITH worked AS (
    SELECT agent_name, id, created_at AS ended_at, arm, state, arm = 'memory' AS asked, recalled_count > 0 AS hit,
           CASE WHEN resolution_time_minutes IS NOT NULL
                THEN ln(greatest(resolution_time_minutes, 1.0 / 60000)) END AS log_minutes
    FROM agent_memories WHERE NOT backfilled
    UNION ALL
    SELECT agent_name, id, finished_at, arm, state, arm = 'memory' AND recalled IS NOT NULL,
           coalesce(jsonb_array_length(recalled) > 0, false), NULL
    FROM missions WHERE state = 'declined' AND claimed_at IS NOT NULL),
placed AS (
    SELECT *, width_bucket(1 + count(*) FILTER (WHERE state <> 'declined') OVER (
                  PARTITION BY agent_name ORDER BY ended_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
              ARRAY[1, 6, 11, 21, 51, 101]::bigint[]) AS place
    FROM worked),
named AS (
    SELECT (ARRAY['1–5', '6–10', '11–20', '21–50', '51–100', '101–'])[place] AS experience, * FROM placed),
grouped AS (
    SELECT 'arm' AS kind, arm AS name, 0 AS at, * FROM named
    UNION ALL
    SELECT 'recalled', CASE WHEN hit THEN 'with recalled work' ELSE 'without recalled work' END, 0, *
    FROM named WHERE asked
    UNION ALL
    SELECT 'experience', experience, place, * FROM named
    UNION ALL
    SELECT 'experience_' || arm, experience, place, * FROM named)
SELECT kind, name, count(*) AS missions,
       count(*) FILTER (WHERE asked) AS asked, count(*) FILTER (WHERE hit) AS hits,
       wilson_bound(count(*) FILTER (WHERE hit), count(*) FILTER (WHERE asked), false, 1.96) AS hit_low,
       wilson_bound(count(*) FILTER (WHERE hit), count(*) FILTER (WHERE asked), true, 1.96) AS hit_high,
       count(*) FILTER (WHERE state = 'succeeded') AS successes, count(*) FILTER (WHERE state = 'failed') AS failures,
       count(*) FILTER (WHERE state = 'declined') AS declined, count(*) FILTER (WHERE state = 'pending') AS pending,
       wilson_bound(count(*) FILTER (WHERE state = 'succeeded'), count(*), false, 1.96) AS success_low,
       wilson_bound(count(*) FILTER (WHERE state = 'succeeded'), count(*), true, 1.96) AS success_high,
       exp(avg(log_minutes)) AS minutes,
       exp(avg(log_minutes) - 1.96 * stddev_samp(log_minutes) / sqrt(count(log_minutes))) AS minutes_low,
       exp(avg(log_minutes) + 1.96 * stddev_samp(log_minutes) / sqrt(count(log_minutes))) AS minutes_high
FROM grouped GROUP BY kind, name, at ORDER BY kind, at, name
"""
_SIMILARITY = """
SELECT least(floor((r->>'similarity')::float8 * 20 + 1e-9), 19)::integer AS bin, count(*) AS count
FROM missions, jsonb_array_elements(CASE WHEN jsonb_typeof(recalled) = 'array' THEN recalled ELSE '[]' END) AS r
WHERE r ? 'similarity' GROUP BY bin ORDER BY bin
"""


async def dashboard(pool: Pool) -> dict[str, Any]:
    """Everything in JSON's types; rates from 0 to 1, times in minutes, None where there is nothing to tell yet.

    An agent's `memories` are what it can recall now; its `successes` are all that it ever had, its record.
    `hit_rate.knew_something` bounds the hits: missions whose agent had proven any work by then, or was given one
    that has since been reverted, erased or pruned. `hit_rate.related` is what a perfect recall could reach on
    proven works: those that share a file, or a folder below the second level, with one that the same agent knew
    before. Of `learning`, `arm`, `curve` (by experience, each arm) and `effect` are the fair comparison, since
    chance assigns the arm; success rates there are of all missions taken, `pending` and `declined` ones included.
    `vectors` says whether the current model's cosines count or words alone do.
    """
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        agents = [dict(row) for row in await connection.fetch(_AGENTS)]
        hits = await connection.fetchrow(_HITS)
        works = await connection.fetch(_WORKS, _WORKS_COMPARED)
        trends = await connection.fetch(_TRENDS, WEEKS)
        curve = await connection.fetch(_CURVE)
        space = await current_space(connection)
        similarity = await connection.fetch(_SIMILARITY)
    assert hits is not None
    possible = sum(
        related_works(
            [_at(row, "asked_at") for row in works if row["backfilled"] == backfilled],
            [_at(row, known) for row in works],
        )
        for backfilled, known in ((False, "known_at"), (True, "proven_at"))
    )
    return {
        "groups": {
            group: {
                "meaning": meaning,
                "agents": [each["agent"] for each in agents if each["group"] == group],
            }
            for group, meaning in GROUPS.items()
        },
        "agents": agents,
        "hit_rate": {
            **hits,
            "rate": _share(hits["hits"], hits["asked"]),
            "knew_something_rate": _share(hits["knew_something"], hits["asked"]),
            "works": len(works),
            "related": possible,
            "related_rate": _share(possible, len(works)),
        },
        "trends": {"all": _weeks(trends), "agents": _weeks_by_agent(trends)},
        "learning": _curves(curve),
        "vectors": {
            "model": space.model if space else None,
            "calibrated": space is not None and is_calibrated(space.model, space.dimension),
        },
        "similarity": [
            {"from": row["bin"] / 20, "to": (row["bin"] + 1) / 20, "count": row["count"]}
            for row in similarity
        ],
    }


Work: TypeAlias = tuple[datetime, str, Sequence[str]]
"""A moment, an agent, and the files that its work changed."""


def related_works(asked: Iterable[Work], known: Iterable[Work]) -> int:
    """How many of those that asked have a related one of the same agent among those known before that moment."""
    waiting = deque(sorted(known, key=itemgetter(0)))
    seen: dict[str, set[str]] = defaultdict(set)
    related = 0
    for moment, agent, files in sorted(asked, key=itemgetter(0)):
        while waiting and waiting[0][0] < moment:
            _, by, changed = waiting.popleft()
            seen[by] |= landmarks(changed)
        related += not landmarks(files).isdisjoint(seen[agent])
    return related


def _at(row: asyncpg.Record, moment: str) -> Work:
    return row[moment], row["agent_name"], row["files"]


def _weeks_by_agent(rows: Sequence[asyncpg.Record]) -> dict[str, list[dict[str, Any]]]:
    by_agent: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        by_agent[row["agent"]].append(row)
    return {agent: _weeks(rows) for agent, rows in sorted(by_agent.items())}


def _weeks(rows: Sequence[asyncpg.Record]) -> list[dict[str, Any]]:
    """The rows of each week added up, oldest first; weeks without any are left out."""
    weeks: dict[str, list[asyncpg.Record]] = defaultdict(list)
    for row in rows:
        weeks[row["week"]].append(row)
    return [{"week": week, **_added(rows)} for week, rows in sorted(weeks.items())]


def _added(rows: Sequence[asyncpg.Record]) -> dict[str, Any]:
    keys = ("outcomes", "successes", "failures", "asked", "hits")
    total: dict[str, Any] = {key: sum(row[key] for row in rows) for key in keys}
    total["success_rate"] = _share(total["successes"], total["successes"] + total["failures"])
    total["hit_rate"] = _share(total["hits"], total["asked"])
    total["minutes"] = _share(sum(row["minutes"] or 0.0 for row in rows), sum(row["timed"] for row in rows))
    return total


def _curves(rows: Sequence[asyncpg.Record]) -> dict[str, Any]:
    curves: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        point = dict(row)
        point["hit_rate"] = _share(row["hits"], row["asked"])
        point["success_rate"] = _share(row["successes"], row["missions"])
        curves[point.pop("kind")].append(point)
    arms = {point["name"]: point for point in curves["arm"]}
    return {
        "arm": curves["arm"],
        "recalled": curves["recalled"],
        "experience": curves["experience"],
        "curve": {arm: curves[f"experience_{arm}"] for arm in ("memory", "control")},
        "effect": {**_time_saved(arms), **_success_gained(arms)},
    }


def _time_saved(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Share of the typical time that memory saves, with its 95 % interval: the difference of two mean logarithms."""
    none = dict.fromkeys(("time_saved", "time_saved_low", "time_saved_high"))
    if len(arms) < 2:
        return none
    memory, control = arms["memory"], arms["control"]
    if memory["minutes"] is None or control["minutes"] is None:
        return none
    ratio = memory["minutes"] / control["minutes"]
    if memory["minutes_high"] is None or control["minutes_high"] is None:
        return {**none, "time_saved": 1 - ratio}
    spread = math.hypot(*(math.log(arm["minutes_high"] / arm["minutes"]) for arm in (memory, control)))
    return {
        "time_saved": 1 - ratio,
        "time_saved_low": 1 - ratio * math.exp(spread),
        "time_saved_high": 1 - ratio * math.exp(-spread),
    }


def _success_gained(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Success rate with memory less that without, with its 95 % interval (Newcombe 1998, from the two Wilson ones).

    None until any mission of either arm was judged.
    """
    if len(arms) < 2 or not any(arm["successes"] + arm["failures"] for arm in arms.values()):
        return dict.fromkeys(("success_gained", "success_gained_low", "success_gained_high"))
    memory, control = arms["memory"], arms["control"]
    gained = memory["success_rate"] - control["success_rate"]

    def reach(above: Mapping[str, Any], below: Mapping[str, Any]) -> float:
        return math.hypot(
            above["success_high"] - above["success_rate"], below["success_rate"] - below["success_low"]
        )

    return {
        "success_gained": gained,
        "success_gained_low": gained - reach(control, memory),
        "success_gained_high": gained + reach(memory, control),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
