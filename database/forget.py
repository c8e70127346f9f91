"""Erases what one person wrote, wherever it went, and keeps the figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from redis.asyncio import Redis

from database.connect import Connection
from database.embeddings import cache
from database.erased import login_digest
from database.inbox import hold_inbox
from database.retention import Retention

# Theirs: everything of it goes. Quoting: what an agent wrote after it had recalled something of theirs, or what they
# added themselves to the solution of somebody else's issue; such an outcome keeps its issue, loses its solution
# and so is recalled no more.
_STAGE = """
CREATE TEMPORARY TABLE their_deliveries (delivery_id text PRIMARY KEY) ON COMMIT DROP;
CREATE TEMPORARY TABLE their_missions (id uuid PRIMARY KEY) ON COMMIT DROP;
CREATE TEMPORARY TABLE their_memories (agent_name text, id uuid, PRIMARY KEY (agent_name, id)) ON COMMIT DROP;
CREATE TEMPORARY TABLE quoting_memories (agent_name text, id uuid, PRIMARY KEY (agent_name, id)) ON COMMIT DROP;
CREATE TEMPORARY TABLE quoting_missions (id uuid PRIMARY KEY) ON COMMIT DROP
"""
# Somebody else's delivery that was not worked yet stays, though its sender, assignee or the like is this person.
_FIND_DELIVERIES = """
INSERT INTO their_deliveries
SELECT delivery_id FROM inbox
WHERE payload <> '{}' AND (
    $1 IN (lower(payload#>>'{issue,user,login}'), lower(payload#>>'{comment,user,login}'),
           lower(payload#>>'{pull_request,user,login}'))
    OR processed_at IS NOT NULL AND EXISTS (
        SELECT FROM jsonb_path_query(payload - 'repository' - 'organization', '$.**.login') AS login
        WHERE lower(login#>>'{}') = $1))
"""
_FIND_MISSIONS = (
    "INSERT INTO their_missions SELECT id FROM missions WHERE lower(author) = $1 AND erased_at IS NULL"
)
_FIND_MEMORIES = """
INSERT INTO their_memories
SELECT agent_name, id FROM agent_memories WHERE lower(issue_author) = $1 AND erased_at IS NULL
"""
_FIND_QUOTING = """
INSERT INTO quoting_memories
WITH RECURSIVE recalls AS MATERIALIZED (
    SELECT m.agent_name, m.id, (r->>'memory_id')::uuid AS recalled
    FROM missions s JOIN agent_memories m ON m.agent_name = s.agent_name AND m.mission_id = s.id
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(s.recalled) WHEN 'array' THEN s.recalled ELSE '[]' END) r
    UNION SELECT agent_name, id, unnest(recalled_ids) FROM agent_memories WHERE recalled_ids <> '{}'),
reached AS (
    SELECT agent_name, id FROM their_memories
    UNION SELECT agent_name, id FROM agent_memories
    WHERE EXISTS (SELECT FROM unnest(solution_authors) AS author WHERE lower(author) = $1)
    UNION SELECT r.agent_name, r.id FROM reached JOIN recalls r ON r.recalled = reached.id)
SELECT agent_name, id FROM reached EXCEPT SELECT agent_name, id FROM their_memories
"""
_FIND_QUOTING_MISSIONS = """
INSERT INTO quoting_missions
SELECT s.id FROM missions s
WHERE s.id NOT IN (SELECT id FROM their_missions) AND (
    EXISTS (
        SELECT FROM jsonb_array_elements(CASE jsonb_typeof(s.recalled) WHEN 'array' THEN s.recalled ELSE '[]' END) r
        WHERE (r->>'memory_id')::uuid IN (SELECT id FROM their_memories UNION SELECT id FROM quoting_memories))
    OR s.id IN (SELECT m.mission_id FROM agent_memories m JOIN quoting_memories USING (agent_name, id)))
"""
# As they were embedded, which of an issue that was edited is more than one text: the cache knows them by their digest.
_TEXTS = """
SELECT concat(payload#>>'{issue,title}', E'\\n', payload#>>'{issue,body}') AS text
FROM inbox JOIN their_deliveries USING (delivery_id) WHERE lower(payload#>>'{issue,user,login}') = $1 UNION
SELECT title || E'\\n' || body AS text FROM missions JOIN their_missions USING (id)
UNION SELECT issue_title || E'\\n' || issue_body FROM agent_memories JOIN their_memories USING (agent_name, id)
"""

# So that no later event and no history file brings them back. As `erased.work_digest` names them.
_WORKS = """
INSERT INTO erased_works (work_digest)
SELECT DISTINCT encode(sha256(convert_to(lower(repository || '#' || number), 'UTF8')), 'hex')
FROM (SELECT repository, unnest(ARRAY[issue_number, pr_number]) AS number FROM missions JOIN their_missions USING (id)
      UNION ALL SELECT repository, unnest(ARRAY[issue_number, pr_number])
      FROM agent_memories JOIN their_memories USING (agent_name, id)
      UNION ALL SELECT repository, (payload#>>'{issue,number}')::integer FROM inbox
      WHERE lower(payload#>>'{issue,user,login}') = $1
      UNION ALL SELECT repository, (payload#>>'{pull_request,number}')::integer FROM inbox
      WHERE lower(payload#>>'{pull_request,user,login}') = $1) AS works
WHERE number IS NOT NULL
ON CONFLICT DO NOTHING
"""
# Labels are words, too.
_WORDS = """
DELETE FROM last_words
WHERE encode(sha256(convert_to(lower(repository || '#' || number), 'UTF8')), 'hex') IN (
    SELECT work_digest FROM erased_works)
"""
# An erased work is never stored again, so nothing is lost with what took it back.
_REVERTS = """
DELETE FROM reverts
WHERE encode(sha256(convert_to(lower(repository || '#' || number), 'UTF8')), 'hex') IN (
    SELECT work_digest FROM erased_works)
"""
# What theirs took back is somebody else's, and must not be learned as a success because they were erased.
_REVERTED_BY = """
UPDATE reverts SET reverted_by = 0, reverted_at = date_trunc('day', reverted_at)
WHERE encode(sha256(convert_to(lower(repository || '#' || reverted_by), 'UTF8')), 'hex') IN (
    SELECT work_digest FROM erased_works)
"""
_DELIVERIES = """
UPDATE inbox SET payload = '{}', processed_at = coalesce(processed_at, now()), result = 'erased'
WHERE delivery_id IN (SELECT delivery_id FROM their_deliveries)
"""
_EFFECTS = """
UPDATE outbox SET payload = '{}', error = NULL, done_at = coalesce(done_at, now())
WHERE kind <> 'wake' AND (payload <> '{}' OR error IS NOT NULL)
  AND mission_id IN (SELECT id FROM their_missions UNION SELECT id FROM quoting_missions)
"""
_WAKES = "DELETE FROM outbox WHERE kind = 'wake' AND mission_id IN (SELECT id FROM their_missions)"
# Repository and number stay until the mission's retention ends; they point to what GitHub itself still shows.
_MISSIONS = """
UPDATE missions SET
    title = '', body = '', labels = '{}', author = '', reason = NULL, why = '[]', unchecked_logins = '{}',
    approved_by = NULL, cancel_requested_by = NULL, embedding = NULL, embedding_model = NULL, answer = NULL,
    comment_url = NULL, person_comment = NULL, pr_number = NULL,
    state = CASE WHEN finished_at IS NULL THEN 'cancelled' ELSE state END,
    fence = fence + (finished_at IS NULL)::integer, lease_until = NULL,
    finished_at = coalesce(finished_at, now()), erased_at = now()
WHERE id IN (SELECT id FROM their_missions)
"""
_QUOTING_MISSIONS = """
UPDATE missions SET answer = NULL, reason = NULL
WHERE id IN (SELECT id FROM quoting_missions)
"""
# Of what was recalled, the titles were theirs; that something was recalled is a figure.
_RECALLED = """
UPDATE missions SET recalled = (
    SELECT coalesce(jsonb_agg(jsonb_build_object('memory_id', r->'memory_id', 'similarity', r->'similarity')), '[]')
    FROM jsonb_array_elements(recalled) AS r)
WHERE jsonb_typeof(recalled) = 'array'
  AND id IN (SELECT id FROM their_missions UNION SELECT id FROM quoting_missions)
"""
_NAMED = """
UPDATE missions SET
    person_comment = CASE WHEN lower(person_comment->>'login') = $1 THEN NULL ELSE person_comment END,
    approved_by = CASE WHEN lower(approved_by) = $1 THEN '(erased)' ELSE approved_by END,
    reason = CASE WHEN lower(cancel_requested_by) = $1 THEN NULL ELSE reason END,
    cancel_requested_by = CASE WHEN lower(cancel_requested_by) = $1 THEN '(erased)' ELSE cancel_requested_by END,
    unchecked_logins = ARRAY(SELECT login FROM unnest(unchecked_logins) AS login WHERE lower(login) <> $1)
WHERE $1 IN (lower(person_comment->>'login'), lower(approved_by), lower(cancel_requested_by))
   OR EXISTS (SELECT FROM unnest(unchecked_logins) AS login WHERE lower(login) = $1)
"""
# A runner may have recalled what is erased and not written yet what it makes of it: another one starts over.
_RESTART = """
WITH restarted AS (
    UPDATE missions SET state = 'queued', lease_until = NULL, runner_id = NULL, fence = fence + 1,
        attempts = attempts - 1, reason = 'started over, since something it may have recalled was erased'
    WHERE state = 'running' AND arm = 'memory'
      AND agent_name IN (SELECT agent_name FROM their_memories UNION SELECT agent_name FROM quoting_memories)
    RETURNING id)
INSERT INTO outbox (mission_id, kind) SELECT id, 'wake' FROM restarted
"""
_COMMENTS = """
SELECT comment_url FROM missions
WHERE comment_url IS NOT NULL AND id IN (SELECT id FROM their_missions UNION SELECT id FROM quoting_missions)
ORDER BY comment_url
"""
_PAUSES = "UPDATE pauses SET paused_by = '(erased)', reason = '' WHERE lower(paused_by) = $1"
# After the memories: who stores a vector at this moment waits for the memory's row, or has stored it before this looks.
_VECTORS = """
DELETE FROM agent_memory_embeddings e
USING (SELECT agent_name, id FROM their_memories UNION ALL SELECT agent_name, id FROM quoting_memories) AS t
WHERE e.agent_name = t.agent_name AND e.memory_id = t.id
"""
# What is left says nothing of the issue: no number, no mission, and of its times only the day, in UTC as weeks are.
_MEMORIES = """
UPDATE agent_memories m SET
    mission_id = gen_random_uuid(), repository = '', issue_number = 0, issue_title = '', issue_body = '',
    issue_labels = '{}', issue_author = '', solution_approach = '', lessons_learned = NULL, files = '{}',
    solution_authors = '{}', proven_by = NULL, pr_number = NULL, recalled_ids = '{}',
    created_at = date_trunc('day', created_at, 'UTC'), stored_at = date_trunc('day', stored_at, 'UTC'),
    proven_at = date_trunc('day', proven_at, 'UTC'), reverted_at = date_trunc('day', reverted_at, 'UTC'),
    erased_at = now()
FROM their_memories t WHERE m.agent_name = t.agent_name AND m.id = t.id
"""
_QUOTING_MEMORIES = """
UPDATE agent_memories m SET solution_approach = '', lessons_learned = NULL, solution_authors = '{}'
FROM quoting_memories q
WHERE m.agent_name = q.agent_name AND m.id = q.id
  AND (m.solution_approach <> '' OR m.lessons_learned IS NOT NULL OR m.solution_authors <> '{}')
"""
_PROVEN_BY = """
UPDATE agent_memories SET proven_by = '(erased)' || substr(proven_by, length($1) + 1)
WHERE starts_with(lower(proven_by), $1 || ': ')
"""
# As `Revert.verdict` says it.
_PROVEN_BY_WORK = """
UPDATE agent_memories SET
    proven_by = 'an erased pull request merged', reverted_at = date_trunc('day', reverted_at)
WHERE reverted_at IS NOT NULL AND proven_by ~ '^pull request #[0-9]+ merged$'
  AND encode(sha256(convert_to(lower(repository || substring(proven_by FROM '#[0-9]+')), 'UTF8')), 'hex') IN (
    SELECT work_digest FROM erased_works)
"""
_NOTE = """
INSERT INTO erasures (login_digest) VALUES ($1) ON CONFLICT (login_digest) DO UPDATE SET erased_at = now()
RETURNING erased_at
"""
# A login for which nothing is found may be mistyped: then it is somebody else's, and is not noted.
_NOTED = "SELECT erased_at FROM erasures WHERE login_digest = $1"
_MENTIONS = """
SELECT (SELECT count(*) FROM missions WHERE position('@' || $1 in lower(title || ' ' || body)) > 0)
     + (SELECT count(*) FROM agent_memories
        WHERE position('@' || $1 in lower(issue_title || ' ' || issue_body || ' ' || solution_approach)) > 0)
"""
# Dead rows go from the pages; the bytes between the rows are overwritten when a page is used again.
_VACUUM = """
VACUUM (ANALYZE) inbox, last_words, reverts, outbox, missions, pauses, agent_memories, agent_memory_embeddings
"""
_REWRITE = """
VACUUM (FULL, ANALYZE) inbox, last_words, reverts, outbox, missions, pauses, agent_memories, agent_memory_embeddings
"""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased of one person, in rows, and when the rest is gone."""

    missions: int
    memories: int
    vectors: int
    quotes: int
    """Outcomes and answers on other people's issues that repeated this person's words."""
    deliveries: int
    effects: int
    named: int
    """Places on other people's work that said what this person had done there: approved, judged, paused."""
    cached: int | None
    """Vectors in Redis; None where no Redis was given."""
    restarted: int
    """Missions in work that might have recalled it."""
    comments: tuple[str, ...]
    """Agents' answers on GitHub that may repeat it: GitHub is asked to remove those."""
    mentions: int
    """Texts of others that name the person with an @; they are theirs, and stay."""
    erased_at: datetime | None
    """When something was last found; None where nothing ever was, and the login is noted nowhere."""
    gone_from_backups_by: datetime | None
    """And from the write-ahead log; None where they are kept for ever, or nothing was ever found."""
    gone_from_logs_by: datetime | None


class DryRun(Exception):
    """Raised inside the transaction to undo it."""


async def forget(
    connection: Connection,
    login: str,
    retention: Retention,
    redis: Redis | None,
    *,
    rewrite: bool = False,
    dry_run: bool = False,
) -> Forgotten:
    """Erase what `login` wrote, in one transaction, as the schema's owner; again, it finds nothing more.

    `rewrite` also rewrites the tables' files, which blocks them meanwhile; `dry_run` only counts. Raises Unavailable
    where the cache cannot be reached, with nothing erased.
    """
    person = login.removeprefix("@").lower()
    done: list[Forgotten] = []
    try:
        async with connection.transaction():
            done.append(await _erase(connection, person, retention, None if dry_run else redis))
            if dry_run:
                raise DryRun
    except DryRun:
        return done[0]
    await connection.execute(_REWRITE if rewrite else _VACUUM)
    return done[0]


async def _erase(connection: Connection, person: str, retention: Retention, redis: Redis | None) -> Forgotten:
    async def rows(statement: str, *arguments: object) -> int:
        status = await connection.execute(statement, *arguments)
        return int(status.rsplit(" ", 1)[1])

    await connection.execute(_STAGE)
    # What a gateway takes in at this moment are missions before the next statement looks.
    await hold_inbox(connection)
    await rows(_FIND_DELIVERIES, person)
    await rows(_FIND_MISSIONS, person)
    await rows(_FIND_MEMORIES, person)
    await rows(_FIND_QUOTING, person)
    await rows(_FIND_QUOTING_MISSIONS)
    texts = [row["text"] for row in await connection.fetch(_TEXTS, person)]
    comments = [row["comment_url"] for row in await connection.fetch(_COMMENTS)]
    await rows(_WORKS, person)
    await rows(_WORDS)
    await rows(_REVERTS)
    await rows(_REVERTED_BY)
    deliveries = await rows(_DELIVERIES)
    effects = await rows(_EFFECTS)
    await rows(_WAKES)
    await rows(_RECALLED)
    missions = await rows(_MISSIONS)
    await rows(_QUOTING_MISSIONS)
    restarted = await rows(_RESTART)
    named = await rows(_NAMED, person) + await rows(_PAUSES, person)
    quotes = await rows(_QUOTING_MEMORIES)
    memories = await rows(_MEMORIES)
    vectors = await rows(_VECTORS)
    named += await rows(_PROVEN_BY, person)
    await rows(_PROVEN_BY_WORK)
    mentions: int = await connection.fetchval(_MENTIONS, person)
    anything = missions or memories or quotes or deliveries or effects or named
    erased_at: datetime | None = await connection.fetchval(
        _NOTE if anything else _NOTED, login_digest(person)
    )
    # Last, so that nothing is lost where Redis cannot be reached: the transaction is undone then.
    cached = None if redis is None else await cache.forget(redis, texts)
    return Forgotten(
        missions=missions,
        memories=memories,
        vectors=vectors,
        quotes=quotes,
        deliveries=deliveries,
        effects=effects,
        named=named,
        cached=cached,
        restarted=restarted,
        comments=tuple(comments),
        mentions=mentions,
        erased_at=erased_at,
        gone_from_backups_by=_later(erased_at, retention.days["backups"]),
        gone_from_logs_by=_later(erased_at, retention.days["logs"]),
    )


def _later(moment: datetime | None, days: int | None) -> datetime | None:
    return None if moment is None or days is None else moment + timedelta(days=days)
