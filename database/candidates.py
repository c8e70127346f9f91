"""Candidates for a recall: some dozens of one agent's successes, by vector, by words, and the newest.

Agent and space stand in the statement itself. So one partition is planned and not all of them, a partial index of that
space may answer, and a connection that asks again plans nothing, which is most of a recall's time.
"""

from __future__ import annotations

from functools import lru_cache

import asyncpg

from database.connect import Connection, Pool
from database.vectors import Space
from errors import EmbeddingMismatch

_COMPARED = 2_000  # newest successes whose words are compared
# Vector and words are read in subqueries, once for all rows. At least one row: it tells the current space.
_CANDIDATES = """
WITH asked AS MATERIALIZED (
    SELECT $1::text::vector({dimension}) AS vector,
           replace(plainto_tsquery('english', $2)::text, ' & ', ' | ')::tsquery AS words),
near AS MATERIALIZED (
    SELECT e.memory_id FROM agent_memory_embeddings e
    WHERE e.agent_name = {agent} AND e.recallable
      AND e.model = {model} AND e.dimension = {dimension} AND e.version = {version}
    ORDER BY e.embedding::vector({dimension}) <=> (SELECT vector FROM asked) LIMIT {near}),
newest AS MATERIALIZED (
    SELECT m.id, m.search, m.created_at FROM agent_memories m
    WHERE m.agent_name = {agent} AND m.state = 'succeeded' ORDER BY m.created_at DESC LIMIT {compared}),
chosen AS (
    SELECT memory_id FROM near
    UNION (SELECT n.id FROM newest n WHERE n.search @@ (SELECT words FROM asked)
           ORDER BY ts_rank(n.search, (SELECT words FROM asked)) DESC LIMIT {worded})
    UNION (SELECT n.id FROM newest n ORDER BY n.created_at DESC LIMIT {newest})),
found AS (
    SELECT m.id, m.issue_number, m.issue_title, left(m.issue_body, 8000) AS issue_body, m.solution_approach,
           m.lessons_learned, m.files, m.created_at, 1 - (e.embedding <=> (SELECT vector FROM asked)) AS cosine
    FROM chosen
    JOIN agent_memories m ON m.agent_name = {agent} AND m.id = chosen.memory_id AND m.state = 'succeeded'
    LEFT JOIN agent_memory_embeddings e ON e.agent_name = {agent} AND e.memory_id = m.id AND e.recallable
        AND e.model = {model} AND e.dimension = {dimension} AND e.version = {version})
SELECT s.model AS current_model, s.dimension AS current_dimension, s.version AS current_version, found.*
FROM (VALUES (1)) AS always LEFT JOIN embedding_model s ON true LEFT JOIN found ON true
"""


async def candidates(
    connection: Connection | Pool,
    agent: str,
    words: str,
    vector: str | None,
    space: Space | None,
    *,
    near: int,
    worded: int,
    newest: int,
) -> list[asyncpg.Record]:
    """The `near` nearest to `vector`, up to `worded` that share `words`, and the `newest`; each once, in no order.

    Without `vector` and its `space` none is near. Raises EmbeddingMismatch where memories are in another space.
    """
    statement = _statement(agent, space, near if vector is not None else 0, worded, newest)
    rows = await connection.fetch(statement, vector, words)
    current = rows[0]
    if space is not None and current["current_model"] is not None:
        now = Space(current["current_model"], current["current_dimension"], current["current_version"])
        if now != space:
            raise EmbeddingMismatch(f"memories are embedded with {now}, the issue with {space}")
    return [row for row in rows if row["id"] is not None]


@lru_cache(maxsize=256)
def _statement(agent: str, space: Space | None, near: int, worded: int, newest: int) -> str:
    space = space or Space("", 1, "")
    return _CANDIDATES.format(
        agent=_literal(agent),
        model=_literal(space.model),
        dimension=int(space.dimension),
        version=_literal(space.version),
        near=int(near),
        worded=int(worded),
        newest=int(newest),
        compared=_COMPARED,
    )


def _literal(text: str) -> str:
    """As PostgreSQL reads it, whatever the session's settings. What it keeps apart are policies, not this."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
