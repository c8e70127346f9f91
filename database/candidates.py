"""Candidates for a recall: some dozens of one agent's successes, by vector, by words, and the newest.

Agent and space stand in the statement itself. So one partition is planned and not all of them, a partial index of that
space may answer, and a connection that asks again plans nothing, which is most of a recall's time.
"""

from __future__ import annotations

import asyncpg

from database.connect import Connection, Pool
from database.vectors import Space
from errors import EmbeddingMismatch

_COMPARED = 2_000  # newest successes whose words are compared
# PostgreSQL itself writes what is the same for all recalls of an agent into the statement, and quotes it.
# Vectors that an index knows are asked of it, the others one by one (`database/indexes.py`).
# Vector and words are read in subqueries, once for all rows. LIMIT 1 makes each candidate a look-up by key: without
# statistics of its partition, all rows were joined with all. At least one row: it tells the current space.
_STATEMENT = """
SELECT format($template$
WITH asked AS MATERIALIZED (
    SELECT $1::text::vector(%3$s) AS vector,
           replace(plainto_tsquery('english', $2)::text, ' & ', ' | ')::tsquery AS words),
near AS MATERIALIZED (
    SELECT memory_id FROM (
        (SELECT e.memory_id, e.embedding::vector(%3$s) <=> (SELECT vector FROM asked) AS distance
         FROM agent_memory_embeddings e
         WHERE e.agent_name = %1$L AND e.recallable AND e.indexed
             AND e.model = %2$L AND e.dimension = %3$s AND e.version = %4$L
         ORDER BY e.embedding::vector(%3$s) <=> (SELECT vector FROM asked) LIMIT %5$s)
        UNION ALL
        (SELECT e.memory_id, e.embedding::vector(%3$s) <=> (SELECT vector FROM asked) AS distance
         FROM agent_memory_embeddings e
         WHERE e.agent_name = %1$L AND e.recallable AND NOT e.indexed
             AND e.model = %2$L AND e.dimension = %3$s AND e.version = %4$L
         ORDER BY e.embedding::vector(%3$s) <=> (SELECT vector FROM asked) LIMIT %5$s)) AS either
    ORDER BY distance LIMIT %5$s),
newest AS MATERIALIZED (
    SELECT m.id, m.search, m.created_at FROM agent_memories m
    WHERE m.agent_name = %1$L AND m.state = 'succeeded' AND m.solution_approach <> ''
    ORDER BY m.created_at DESC LIMIT %8$s),
chosen AS (
    SELECT memory_id FROM near
    UNION (SELECT n.id FROM newest n WHERE n.search @@ (SELECT words FROM asked)
           ORDER BY ts_rank(n.search, (SELECT words FROM asked)) DESC LIMIT %6$s)
    UNION (SELECT n.id FROM newest n ORDER BY n.created_at DESC LIMIT %7$s)),
found AS (
    SELECT m.*, 1 - (e.embedding <=> (SELECT vector FROM asked)) AS cosine
    FROM chosen
    CROSS JOIN LATERAL (
        SELECT id, issue_number, issue_title, left(issue_body, 8000) AS issue_body, solution_approach, lessons_learned,
               files, created_at, resolution_time_minutes, issue_author, solution_authors
        FROM agent_memories
        WHERE agent_name = %1$L AND id = chosen.memory_id AND state = 'succeeded' AND solution_approach <> '' LIMIT 1) m
    LEFT JOIN LATERAL (
        SELECT embedding FROM agent_memory_embeddings
        WHERE agent_name = %1$L AND memory_id = chosen.memory_id AND recallable
            AND model = %2$L AND dimension = %3$s AND version = %4$L LIMIT 1) e ON true)
SELECT s.model AS current_model, s.dimension AS current_dimension, s.version AS current_version, found.*
FROM (VALUES (1)) AS always LEFT JOIN embedding_model s ON true LEFT JOIN found ON true
$template$, $1::text, $2::text, $3::integer, $4::text, $5::integer, $6::integer, $7::integer, $8::integer)
"""
_REMEMBERED = 256
_statements: dict[tuple[str | int, ...], str] = {}


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
    space_asked = space or Space("", 1, "")
    statement = await _statement(
        connection,
        agent,
        space_asked.model,
        space_asked.dimension,
        space_asked.version,
        near if vector is not None else 0,
        worded,
        newest,
        _COMPARED,
    )
    rows = await connection.fetch(statement, vector, words)
    current = rows[0]
    if space is not None and current["current_model"] is not None:
        now = Space(current["current_model"], current["current_dimension"], current["current_version"])
        if now != space:
            raise EmbeddingMismatch(f"memories are embedded with {now}, the issue with {space}")
    return [row for row in rows if row["id"] is not None]


async def _statement(connection: Connection | Pool, *given: str | int) -> str:
    """The statement for the arguments of `_STATEMENT`, asked for once."""
    if given not in _statements:
        if len(_statements) >= _REMEMBERED:
            _statements.clear()
        _statements[given] = await connection.fetchval(_STATEMENT, *given)
    return _statements[given]
