"""A mission as one row of the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from database.connect import Connection

# Cut in the database: the text comes from strangers, and a snapshot stays small whatever they write.
_BRIEFS = """
SELECT id, repository, issue_number, left(title, 120) AS title, agent_name, state, left(reason, 160) AS reason, score,
       why, candidates, recalled, arm, misrouted_from, attempts, cost_usd, accepted_at, claimed_at, finished_at
FROM missions WHERE id = ANY($1)
"""
_REASONS = 2
_RUNNERS_UP = 2
_RECALLED = 2


def web_address(api_url: str) -> str:
    """Where people read what `api_url` serves to programs: GitHub, GitHub Enterprise, or the local GitHub."""
    return "https://github.com" if api_url == "https://api.github.com" else api_url.removesuffix("/api/v3")


def issue_address(web: str, repository: str, number: int) -> str:
    """The page of an issue."""
    return f"{web}/{quote(repository)}/issues/{number}"


def pull_address(web: str, repository: str, number: int) -> str:
    """The page of a pull request."""
    return f"{web}/{quote(repository)}/pull/{number}"


def milliseconds(moment: datetime | None) -> int | None:
    """Since 1970, as JavaScript counts."""
    return None if moment is None else round(moment.timestamp() * 1000)


def recalled_work(work: Mapping[str, Any], *, characters: int) -> dict[str, Any]:
    """One entry of `missions.recalled`; number and title are None where the work was erased."""
    title = work.get("issue_title")
    return {
        "number": work.get("issue_number"),
        "title": None if title is None else title[:characters],
        "similarity": work["similarity"],
    }


async def read_briefs(
    connection: Connection, missions: Iterable[UUID], web: str
) -> dict[UUID, dict[str, Any]]:
    """Mission id → its row; at most two reasons, runners-up and recalled works each."""
    briefs: dict[UUID, dict[str, Any]] = {}
    for row in await connection.fetch(_BRIEFS, list(missions)):
        recalled = None if row["recalled"] is None else json.loads(row["recalled"])
        others = [c for c in json.loads(row["candidates"]) if c["agent"] != row["agent_name"]]
        briefs[row["id"]] = {
            "id": str(row["id"]),
            "repository": row["repository"],
            "number": row["issue_number"],
            "title": row["title"],
            "url": issue_address(web, row["repository"], row["issue_number"]),
            "agent": row["agent_name"],
            "state": row["state"],
            "reason": row["reason"],
            "score": row["score"],
            "why": [reason[:120] for reason in json.loads(row["why"])[:_REASONS]],
            "runnersUp": [[c["agent"], c["score"]] for c in others[:_RUNNERS_UP]],
            "recalledCount": None if recalled is None else len(recalled),
            "recalled": [recalled_work(work, characters=80) for work in (recalled or ())[:_RECALLED]],
            "control": row["arm"] == "control",
            "misroutedFrom": row["misrouted_from"],
            "attempts": row["attempts"],
            "usd": float(row["cost_usd"]),
            "accepted": milliseconds(row["accepted_at"]),
            "claimed": milliseconds(row["claimed_at"]),
            "finished": milliseconds(row["finished_at"]),
        }
    return briefs
