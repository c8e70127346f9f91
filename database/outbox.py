"""What has to leave PostgreSQL: wake-ups for runners and effects on GitHub, each retried until it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from database.connect import Connection

MAX_EFFECT_ATTEMPTS = 12  # with the delays below: about two hours
_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Wake:
    """A mission whose runner should look."""

    id: int
    mission_id: UUID
    agent: str


@dataclass(frozen=True, slots=True)
class PendingEffect:
    """One effect on GitHub that is due."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    attempts: int
    mission_id: UUID
    repository: str
    issue_number: int
    agent: str | None
    """None where the gateway itself speaks, as when no agent fits."""
    pr_number: int | None
    """The mission's pull request, where it has one."""


_WAKES = """
SELECT o.id, o.mission_id, m.agent_name FROM outbox o JOIN missions m ON m.id = o.mission_id
WHERE o.kind = 'wake' AND o.done_at IS NULL ORDER BY o.id LIMIT $1 FOR UPDATE OF o SKIP LOCKED
"""
_DELETE = "DELETE FROM outbox WHERE id = ANY($1)"


async def take_wakes(connection: Connection, most: int) -> list[Wake]:
    """Up to `most` wake-ups, locked until the caller's transaction ends."""
    rows = await connection.fetch(_WAKES, most)
    return [Wake(row["id"], row["mission_id"], row["agent_name"]) for row in rows]


async def delete_wakes(connection: Connection, wakes: Sequence[Wake]) -> None:
    """Wake-ups that Redis has; the mission itself says whether it still needs a runner."""
    await connection.execute(_DELETE, [wake.id for wake in wakes])


# Queued missions whose wake-up may have been lost with Redis, and leases that ended: wake their runners again.
_REPEAT_WAKES = """
INSERT INTO outbox (mission_id, kind)
SELECT id, 'wake' FROM missions m
WHERE (state = 'queued' AND greatest(accepted_at, not_before) < now() - make_interval(secs => $1)
       OR state = 'running' AND lease_until < now())
  AND attempts < $2
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.mission_id = m.id AND o.kind = 'wake')
LIMIT 1000
"""


async def repeat_wakes(connection: Connection, older_than_seconds: float, max_attempts: int) -> int:
    """Put wake-ups in again for missions that nobody took; how many."""
    status = await connection.execute(_REPEAT_WAKES, older_than_seconds, max_attempts)
    return int(status.rsplit(" ", 1)[1])


_EFFECTS = "SELECT * FROM take_effects($1, $2)"


async def take_effects(connection: Connection, most: int) -> list[PendingEffect]:
    """Up to `most` effects that are due, locked until the caller's transaction ends."""
    return [
        PendingEffect(
            id=row["id"],
            kind=row["kind"],
            payload=json.loads(row["payload"]),
            attempts=row["attempts"],
            mission_id=row["mission_id"],
            repository=row["repository"],
            issue_number=row["issue_number"],
            agent=row["agent_name"],
            pr_number=row["pr_number"],
        )
        for row in await connection.fetch(_EFFECTS, most, MAX_EFFECT_ATTEMPTS)
    ]


# The payload of a done effect (a patch, maybe) is of no more use.
_EFFECTS_DONE = """
WITH result (id, comment_url, pr_number) AS (SELECT * FROM unnest($1::bigint[], $2::text[], $3::integer[])),
done AS (
    UPDATE outbox SET done_at = now(), payload = '{}', error = NULL FROM result WHERE outbox.id = result.id
    RETURNING mission_id, result.comment_url, result.pr_number)
UPDATE missions
SET comment_url = coalesce(done.comment_url, missions.comment_url),
    pr_number = coalesce(done.pr_number, missions.pr_number)
FROM done WHERE missions.id = done.mission_id
"""


@dataclass(frozen=True, slots=True)
class DoneEffect:
    """What came of an effect: the comment's URL or the pull request's number."""

    id: int
    comment_url: str | None = None
    pr_number: int | None = None


async def effects_done(connection: Connection, done: Sequence[DoneEffect]) -> None:
    """Mark effects as done and note their results on their missions."""
    await connection.execute(
        _EFFECTS_DONE,
        [each.id for each in done],
        [each.comment_url for each in done],
        [each.pr_number for each in done],
    )


_EFFECT_LATER = """
UPDATE outbox SET attempts = attempts + $2::integer, error = $3,
    not_before = coalesce($4, now() + make_interval(secs => least($5::float8 * 2 ^ attempts, $6::float8)))
WHERE id = $1
"""


async def effect_later(
    connection: Connection, effect: PendingEffect, error: str, *, retry_at: datetime | None = None
) -> None:
    """Try an effect again later; with `retry_at` GitHub itself named the time, and the try does not count."""
    await connection.execute(
        _EFFECT_LATER,
        effect.id,
        int(retry_at is None),
        error[:500],
        retry_at,
        _FIRST_DELAY_SECONDS,
        _LONGEST_DELAY_SECONDS,
    )


_EFFECT_REFUSED = "UPDATE outbox SET attempts = $2, error = $3 WHERE id = $1"


async def effect_refused(connection: Connection, effect: PendingEffect, error: str) -> None:
    """GitHub will never take this effect; it stays, with the reason, for an operator to see."""
    await connection.execute(_EFFECT_REFUSED, effect.id, MAX_EFFECT_ATTEMPTS, error[:500])
