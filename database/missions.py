"""Missions: accepted by the gateway, claimed under a lease and a fence by a runner, finished once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import asyncpg

from database.connect import Connection, Pool

State = Literal["waiting", "queued", "running", "done", "declined", "abstained", "failed", "cancelled"]
FINAL: frozenset[str] = frozenset({"done", "declined", "abstained", "failed", "cancelled"})
LIVE: frozenset[str] = frozenset({"waiting", "queued", "running"})
LEASE_SECONDS = 60.0  # a heartbeat every third of it; a dead runner's missions wait at most this long
MAX_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Mission:
    """One issue being worked by one agent, as its runner holds it."""

    id: UUID
    repository: str
    issue_number: int
    agent: str
    title: str
    body: str
    labels: tuple[str, ...]
    author: str
    zone: str
    fence: int
    attempts: int
    score: float | None
    why: tuple[str, ...]
    arm: Literal["memory", "control"]
    embedding: str | None
    """pgvector's text form, as the gateway stored it."""
    embedding_model: str | None
    embedding_version: str
    event: str
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class NewMission:
    """What the gateway decided about an issue; with `agent` None it abstained."""

    repository: str
    issue_number: int
    event: str
    title: str
    body: str
    labels: Sequence[str]
    author: str
    zone: str
    state: State
    agent: str | None = None
    region: str | None = None
    reason: str | None = None
    score: float | None = None
    why: Sequence[str] = ()
    candidates: Sequence[Mapping[str, Any]] = ()
    misrouted_from: str | None = None
    paid: bool = False
    unchecked_logins: Sequence[str] = ()
    embedding: str | None = None
    embedding_model: str | None = None
    embedding_version: str = ""
    arm: Literal["memory", "control"] = "memory"


_ADD = """
WITH mission AS (
    INSERT INTO missions (repository, issue_number, event, title, body, labels, author, zone, state, agent_name, region,
                          reason, score, why, candidates, misrouted_from, paid, unchecked_logins, arm,
                          embedding, embedding_model, embedding_version, finished_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20::vector, $21, $22,
            CASE WHEN $9 IN ('abstained', 'failed') THEN now() END)
    ON CONFLICT DO NOTHING RETURNING id, state),
wake AS (INSERT INTO outbox (mission_id, kind) SELECT id, 'wake' FROM mission WHERE state = 'queued')
SELECT id FROM mission
"""
WAKE = "INSERT INTO outbox (mission_id, kind) VALUES ($1, 'wake')"


async def add_mission(connection: Connection, new: NewMission) -> UUID | None:
    """Store a mission and, when it is queued, the outbox row that wakes its runner; in the caller's transaction.

    None where this event has a mission already, or the issue has a live one: nothing changed then.
    """
    mission_id: UUID | None = await connection.fetchval(
        _ADD,
        new.repository,
        new.issue_number,
        new.event,
        new.title,
        new.body,
        list(new.labels),
        new.author,
        new.zone,
        new.state,
        new.agent,
        new.region,
        new.reason,
        new.score,
        json.dumps(list(new.why)),
        json.dumps(list(new.candidates)),
        new.misrouted_from,
        new.paid,
        list(new.unchecked_logins),
        new.arm,
        new.embedding,
        new.embedding_model,
        new.embedding_version,
    )
    return mission_id


# A pause of all, of the agent or of paid work keeps missions queued. An expired lease is claimed like a queued one.
_CLAIM = """
UPDATE missions SET
    state = 'running', fence = fence + 1, attempts = attempts + 1, runner_id = $2,
    lease_until = now() + make_interval(secs => $4), claimed_at = coalesce(claimed_at, now()), reason = NULL
WHERE id = ANY(ARRAY(  -- an array is made once; a subquery under IN may run again and take more than its LIMIT
    SELECT id FROM missions
    WHERE agent_name = $1 AND attempts < $5 AND cancel_requested_by IS NULL
      AND (state = 'queued' AND not_before <= now() OR state = 'running' AND lease_until < now())
      AND NOT EXISTS (
          SELECT FROM pauses WHERE scope = 'all' OR scope = 'agent:' || $1 OR scope = 'paid' AND missions.paid)
    ORDER BY accepted_at LIMIT $3 FOR UPDATE SKIP LOCKED))
RETURNING id, repository, issue_number, agent_name, title, body, labels, author, zone, fence, attempts, score,
          why, arm, embedding::text AS embedding, embedding_model, embedding_version, event,
          accepted_at
"""


async def claim_missions(
    pool: Pool, agent: str, runner_id: str, *, most: int, lease_seconds: float = LEASE_SECONDS
) -> list[Mission]:
    """Take up to `most` missions of `agent`, oldest first, each under a new fence."""
    rows = await pool.fetch(_CLAIM, agent, runner_id, most, lease_seconds, MAX_ATTEMPTS)
    return sorted((_mission(row) for row in rows), key=lambda mission: mission.accepted_at)


def _mission(row: asyncpg.Record) -> Mission:
    return Mission(
        id=row["id"],
        repository=row["repository"],
        issue_number=row["issue_number"],
        agent=row["agent_name"],
        title=row["title"],
        body=row["body"],
        labels=tuple(row["labels"]),
        author=row["author"],
        zone=row["zone"],
        fence=row["fence"],
        attempts=row["attempts"],
        score=row["score"],
        why=tuple(json.loads(row["why"])),
        arm=row["arm"],
        embedding=row["embedding"],
        embedding_model=row["embedding_model"],
        embedding_version=row["embedding_version"],
        event=row["event"],
        accepted_at=row["accepted_at"],
    )


_EXTEND = """
UPDATE missions SET lease_until = now() + make_interval(secs => $4)
FROM unnest($1::uuid[], $2::bigint[]) AS held (id, fence)
WHERE missions.id = held.id AND missions.fence = held.fence AND missions.agent_name = $3 AND state = 'running'
RETURNING missions.id, cancel_requested_by
"""


async def extend_leases(
    pool: Pool, agent: str, held: Iterable[Mission], *, lease_seconds: float = LEASE_SECONDS
) -> dict[UUID, str | None]:
    """The missions still held, each with who asked to cancel it; one that is left out has passed to another runner."""
    held = list(held)
    ids, fences = [mission.id for mission in held], [mission.fence for mission in held]
    rows = await pool.fetch(_EXTEND, ids, fences, agent, lease_seconds)
    return {row["id"]: row["cancel_requested_by"] for row in rows}


# $4: the attempt does not count, because the runner gave it back unworked.
_RELEASE = """
UPDATE missions SET
    state = 'queued', lease_until = NULL, runner_id = NULL, reason = $5,
    not_before = now() + make_interval(secs => $3), attempts = attempts - $4::integer
WHERE id = $1 AND fence = $2 AND state = 'running'
"""


async def release_mission(
    pool: Pool,
    mission: Mission,
    *,
    delay_seconds: float = 0.0,
    uncounted: bool = False,
    reason: str | None = None,
) -> bool:
    """Give a mission back to the queue; False where the fence has moved on."""
    status = await pool.execute(_RELEASE, mission.id, mission.fence, delay_seconds, int(uncounted), reason)
    return status == "UPDATE 1"


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to do on GitHub, once, after the mission is finished."""

    kind: Literal["comment", "pull_request"]
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """How a mission ended, to be written in one transaction with all that follows from it."""

    state: Literal["done", "declined", "failed", "cancelled"]
    reason: str | None = None
    answer: str | None = None
    solution: str = ""
    lessons: str | None = None
    files: Sequence[str] = ()
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    recalled: Sequence[Mapping[str, Any]] | None = None
    """None: memory was not asked; empty: asked, and nothing similar was known."""
    solution_authors: Sequence[str] = ()
    """People whose words solution and lessons may repeat."""
    effects: Sequence[Effect] = ()


_FINISH = "SELECT finish_mission($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"


async def finish_mission(pool: Pool, mission: Mission, finish: Finish) -> bool:
    """Mission final, outcome, statistics and GitHub effects in one transaction; False where the fence has moved on."""
    written: bool = await pool.fetchval(
        _FINISH,
        mission.id,
        mission.fence,
        finish.state,
        finish.reason,
        finish.answer,
        finish.solution,
        finish.lessons,
        list(finish.files),
        finish.tokens,
        finish.cost_usd,
        None if finish.recalled is None else json.dumps(list(finish.recalled)),
        json.dumps([{"kind": effect.kind, "payload": dict(effect.payload)} for effect in finish.effects]),
        list(finish.solution_authors),
    )
    return written


_ADD_EFFECT = """
INSERT INTO outbox (mission_id, kind, payload) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""


async def add_effects(connection: Connection, mission: UUID, effects: Sequence[Effect]) -> None:
    """Put effects of the gateway's own decision into the outbox; in the caller's transaction."""
    for effect in effects:
        await connection.execute(_ADD_EFFECT, mission, effect.kind, json.dumps(dict(effect.payload)))
