"""What the page shows of one mission or one agent when a person asks for it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from database.connect import Pool
from database.outbox import MAX_EFFECT_ATTEMPTS
from runner.agents import Agent
from runner.geography import Geography
from runner.page.briefs import issue_address, milliseconds, pull_address, read_briefs, recalled_work

_ANSWER_CHARACTERS = 8_000
_TITLE_CHARACTERS = 300
_LATEST = 12

_MISSION = """
SELECT id, repository, issue_number, left(title, 300) AS title, left(body, $2) AS body, labels, author, zone, region,
       agent_name, state, left(reason, 2000) AS reason, score, why, candidates, recalled, arm, event, misrouted_from,
       paid, approved_by, attempts, left(answer, $2) AS answer, tokens, cost_usd, comment_url, pr_number,
       accepted_at, claimed_at, finished_at
FROM missions WHERE id = $1
"""
# Asked by the agent's name, so that one partition answers.
_OUTCOME = "SELECT state, proven_by, proven_at FROM agent_memories WHERE agent_name = $1 AND mission_id = $2"
_EFFECTS = """
SELECT kind, done_at, attempts >= $2 AS refused, left(error, 500) AS error FROM outbox
WHERE mission_id = $1 AND kind <> 'wake' ORDER BY id
"""


async def mission_detail(pool: Pool, mission: UUID, web: str) -> dict[str, Any] | None:
    """Everything about one mission; None where there is none."""
    async with pool.acquire() as connection:
        row = await connection.fetchrow(_MISSION, mission, _ANSWER_CHARACTERS)
        if row is None:
            return None
        outcome = await connection.fetchrow(_OUTCOME, row["agent_name"], mission)
        effects = await connection.fetch(_EFFECTS, mission, MAX_EFFECT_ATTEMPTS)
    comment = row["comment_url"]
    return {
        "id": str(row["id"]),
        "repository": row["repository"],
        "number": row["issue_number"],
        "title": row["title"],
        "url": issue_address(web, row["repository"], row["issue_number"]),
        "body": row["body"],
        "labels": list(row["labels"]),
        "author": row["author"],
        "zone": row["zone"],
        "region": row["region"],
        "agent": row["agent_name"],
        "state": row["state"],
        "reason": row["reason"],
        "score": row["score"],
        "why": json.loads(row["why"]),
        "candidates": [[c["agent"], c["score"]] for c in json.loads(row["candidates"])],
        "recalled": [
            {**recalled_work(work, characters=_TITLE_CHARACTERS), "why": work.get("why")}
            for work in json.loads(row["recalled"])
        ]
        if row["recalled"] is not None
        else None,
        "control": row["arm"] == "control",
        "event": row["event"],
        "misroutedFrom": row["misrouted_from"],
        "paid": row["paid"],
        "approvedBy": row["approved_by"],
        "attempts": row["attempts"],
        "answer": row["answer"],
        "tokens": row["tokens"],
        "usd": float(row["cost_usd"]),
        # GitHub named it; only what a browser may open is passed on.
        "comment": comment if comment and comment.startswith(("https://", "http://")) else None,
        "pullRequest": pull_address(web, row["repository"], row["pr_number"]) if row["pr_number"] else None,
        "outcome": None
        if outcome is None
        else {
            "state": outcome["state"],
            "by": outcome["proven_by"],
            "at": milliseconds(outcome["proven_at"]),
        },
        "effects": [
            {
                "kind": effect["kind"],
                "done": milliseconds(effect["done_at"]),
                "refused": effect["refused"] and effect["done_at"] is None,
                "error": effect["error"],
            }
            for effect in effects
        ],
        "accepted": milliseconds(row["accepted_at"]),
        "claimed": milliseconds(row["claimed_at"]),
        "finished": milliseconds(row["finished_at"]),
    }


_STATES = "SELECT state, count(*) AS count FROM missions WHERE agent_name = $1 GROUP BY state ORDER BY state"
_PERFORMANCE = """
SELECT total_missions - successful_missions - failed_missions AS pending, successful_missions AS proven,
       failed_missions AS refuted, avg_resolution_time_minutes * 60 AS seconds
FROM agent_performance WHERE agent_name = $1
"""
_NEWEST = "SELECT id FROM missions WHERE agent_name = $1 ORDER BY accepted_at DESC, id LIMIT $2"


async def agent_detail(pool: Pool, agent: Agent, geography: Geography, web: str) -> dict[str, Any]:
    """What an agent is, how it has done, and its newest missions."""
    async with pool.acquire() as connection:
        states = await connection.fetch(_STATES, agent.name)
        performance = await connection.fetchrow(_PERFORMANCE, agent.name)
        newest = [row["id"] for row in await connection.fetch(_NEWEST, agent.name, _LATEST)]
        briefs = await read_briefs(connection, newest, web)
    region = geography.region_of(agent.name)
    return {
        "name": agent.name,
        "description": agent.description,
        "specialization": agent.specialization,
        "personality": agent.personality,
        "responsibilities": list(agent.responsibilities),
        "tools": list(agent.tools),
        "region": region.name,
        "location": region.location,
        "zone": region.zone,
        "states": {row["state"]: row["count"] for row in states},
        "outcomes": dict(performance) if performance is not None else None,
        "missions": [briefs[mission] for mission in newest if mission in briefs],
    }
