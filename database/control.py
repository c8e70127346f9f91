"""What the gateway and operators do to missions: cancel, supersede, approve, retry, pause."""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from database.connect import Connection, Pool
from database.missions import MAX_ATTEMPTS, WAKE, State

_CANCEL_LIVE = """
UPDATE missions SET
    state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
    cancel_requested_by = $3,
    reason = $4,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE now() END
WHERE repository = $1 AND issue_number = $2 AND state IN ('waiting', 'queued', 'running')
RETURNING agent_name, state
"""


async def cancel_live_mission(
    connection: Connection, repository: str, issue_number: int, by: str, reason: str
) -> str | None:
    """Cancel what is not started, ask the runner of what is; the state it has now, None where nothing was live."""
    row = await connection.fetchrow(_CANCEL_LIVE, repository, issue_number, by, reason)
    return None if row is None else str(row["state"])


_SUPERSEDE = """
UPDATE missions SET
    state = 'cancelled', cancel_requested_by = $3, reason = $4, finished_at = now(), lease_until = NULL,
    fence = fence + 1
WHERE repository = $1 AND issue_number = $2 AND state IN ('waiting', 'queued', 'running') AND agent_name <> $5
"""


async def supersede_mission(
    connection: Connection, repository: str, issue_number: int, by: str, agent: str
) -> None:
    """A person chose another agent: whatever runs now loses its fence at once, so that the issue has one worker."""
    await connection.execute(_SUPERSEDE, repository, issue_number, by, f"{by} chose {agent}", agent)


_LATEST = """
SELECT id, agent_name, state FROM missions WHERE repository = $1 AND issue_number = $2
ORDER BY accepted_at DESC, id LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest mission of an issue."""

    id: UUID
    agent: str | None
    state: State


async def latest_mission(connection: Connection, repository: str, issue_number: int) -> Latest | None:
    """The newest mission of an issue, None where it has none."""
    row = await connection.fetchrow(_LATEST, repository, issue_number)
    return None if row is None else Latest(row["id"], row["agent_name"], row["state"])


_ASK = """
UPDATE missions SET unchecked_logins = array_append(unchecked_logins, $2), reason = 'looking up who may spend'
WHERE id = $1 AND state = 'waiting' AND NOT $2 = ANY(unchecked_logins)
"""
_WAITING = """
SELECT id, repository, issue_number, unchecked_logins FROM missions
WHERE state = 'waiting' AND unchecked_logins <> '{}' ORDER BY accepted_at LIMIT $1
"""
_APPROVE = """
UPDATE missions SET state = 'queued', approved_by = $2, unchecked_logins = '{}', reason = NULL
WHERE id = $1 AND state = 'waiting'
"""
_REFUSE = """
UPDATE missions SET unchecked_logins = '{}', reason = 'waits for a label by someone with write access'
WHERE id = $1 AND state = 'waiting' AND unchecked_logins = $2
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A paid mission, and the people on whose word it may start."""

    id: UUID
    repository: str
    issue_number: int
    logins: tuple[str, ...]


async def ask_for_approval(connection: Connection, mission: UUID, login: str) -> None:
    """`login` labelled the issue of a waiting mission: look up whether that person may spend."""
    await connection.execute(_ASK, mission, login)


async def waiting_missions(pool: Pool, most: int) -> list[Waiting]:
    """Up to `most` missions with people to look up."""
    rows = await pool.fetch(_WAITING, most)
    return [
        Waiting(row["id"], row["repository"], row["issue_number"], tuple(row["unchecked_logins"]))
        for row in rows
    ]


async def approve_mission(connection: Connection, mission: UUID, login: str) -> None:
    """Queue a waiting mission on the word of `login`, and wake its runner."""
    if await connection.execute(_APPROVE, mission, login) == "UPDATE 1":
        await connection.execute(WAKE, mission)


async def refuse_approval(connection: Connection, waiting: Waiting) -> None:
    """None of the people asked may spend: the mission goes on waiting."""
    await connection.execute(_REFUSE, waiting.id, list(waiting.logins))


_NOTE_COMMENT = """
UPDATE missions SET person_comment = $2 WHERE id = $1
"""
_PERSON_COMMENT = (
    "SELECT person_comment->>'body' FROM missions WHERE id = $1 AND person_comment->>'login' = $2"
)


async def note_comment(connection: Connection, mission: UUID, login: str, body: str) -> None:
    """Keep the last comment that a person wrote on the mission's issue."""
    await connection.execute(_NOTE_COMMENT, mission, json.dumps({"login": login, "body": body}))


async def comment_by(connection: Connection, mission: UUID, login: str) -> str | None:
    """The last comment on the mission's issue, if `login` wrote it."""
    body: str | None = await connection.fetchval(_PERSON_COMMENT, mission, login)
    return body


_ABANDON = "SELECT abandon_missions($1)"


async def abandon_missions(connection: Connection) -> int:
    """Fail the missions whose runners died MAX_ATTEMPTS times in a row; how many."""
    count: int = await connection.fetchval(_ABANDON, MAX_ATTEMPTS)
    return count


_CANCEL_ONE = """
UPDATE missions SET
    state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
    cancel_requested_by = $2,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE now() END
WHERE id = $1 AND state IN ('waiting', 'queued', 'running')
RETURNING state
"""


async def cancel_mission(connection: Connection, mission: UUID, by: str) -> str | None:
    """Cancel one mission; its state now, None where it was not live."""
    state: str | None = await connection.fetchval(_CANCEL_ONE, mission, by)
    return state


# A new mission with a new event, so that the old one's outcome stays what it was.
_RETRY = """
INSERT INTO missions (repository, issue_number, event, title, body, labels, author, zone, region, agent_name, state,
                      score, why, candidates, misrouted_from, paid, approved_by, arm,
                      embedding, embedding_model, embedding_version)
SELECT repository, issue_number,
       'retry:' || (SELECT count(*) + 1 FROM missions o WHERE o.repository = m.repository
                    AND o.issue_number = m.issue_number AND o.event LIKE 'retry:%'),
       title, body, labels, author, zone, region, agent_name, 'queued',
       score, why, candidates, misrouted_from, paid, coalesce(approved_by, $2), arm,
       embedding, embedding_model, embedding_version
FROM missions m
WHERE id = $1 AND state IN ('declined', 'failed', 'cancelled') AND agent_name IS NOT NULL
ON CONFLICT DO NOTHING
RETURNING id
"""


async def retry_mission(connection: Connection, mission: UUID, by: str) -> UUID | None:
    """Queue a mission's issue again for the same agent; None where it is not ended or the issue is live again."""
    new: UUID | None = await connection.fetchval(_RETRY, mission, by)
    if new is not None:
        await connection.execute(WAKE, new)
    return new


_PAUSE = """
INSERT INTO pauses (scope, paused_by, reason) VALUES ($1, $2, $3)
ON CONFLICT (scope) DO UPDATE SET paused_by = $2, reason = $3
"""
_PAUSED = "SELECT EXISTS (SELECT FROM pauses WHERE scope = $1)"
_RESUME = "DELETE FROM pauses WHERE scope = $1"
# What a pause held back needs waking; a repeated wake-up does no harm.
_WAKE_HELD = """
INSERT INTO outbox (mission_id, kind) SELECT id, 'wake' FROM missions WHERE state = 'queued'
"""


async def pause(connection: Connection, scope: str, by: str, reason: str = "") -> None:
    """Claim no more missions in `scope`: all, paid, or agent:<name>. What runs is finished."""
    await connection.execute(_PAUSE, scope, by, reason)


async def is_paused(connection: Connection, scope: str) -> bool:
    """Whether that very scope is paused; all covers the others and is asked apart."""
    paused: bool = await connection.fetchval(_PAUSED, scope)
    return paused


async def resume(connection: Connection, scope: str) -> bool:
    """End a pause; False where there was none."""
    async with connection.transaction():
        if await connection.execute(_RESUME, scope) != "DELETE 1":
            return False
        await connection.execute(_WAKE_HELD)
    return True
