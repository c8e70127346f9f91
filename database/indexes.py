"""Approximate indexes for large partitions: made and dropped while agents work, kept only where they find what is near.

Recall scans a partition exactly. Above ABOVE vectors an HNSW index of that one partition answers sooner; the planner
takes it by itself, because `candidates` asks in the index's own words. What is stored later joins the index when this
runs again, so that no store waits for it; until then recall compares it exactly, beside what the index finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from database.candidates import candidates
from database.connect import Connection
from database.vectors import Space

ABOVE = 2_000
"""Vectors of one space in a partition. Measured by `python -m bench.memory.crossover`; docs/memory.md has the table."""
FOUND = 0.99  # of the exact five nearest, or the index is not kept
# pgvector's 64 found 95 % of the five nearest among 160,000 vectors around topics, 128 99.7 %; among 14,800 real texts,
# which crowd together more, 128 found 98.5 %, 256 99.3 %, answered in the same time.
_BUILT_WITH = "m = 16, ef_construction = 256"
_SAMPLES = 200
_NEAREST = 5


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of one agent's index."""

    agent: str
    space: Space
    vectors: int
    action: Literal["made", "kept", "dropped", "refused"]
    found: float | None = None
    """Share of the exact nearest that it finds, where it was made."""
    joined: int = 0
    """Vectors stored since the last run that it knows now, where it was kept."""


# The name tells the space and how it was built, so that a former index is known as such.
_STATE = """
WITH counted AS (
    SELECT agent_name, model, dimension, version, count(*) AS vectors, count(*) FILTER (WHERE NOT indexed) AS apart
    FROM agent_memory_embeddings WHERE recallable GROUP BY 1, 2, 3, 4)
SELECT a.agent_name, c.model, c.dimension, c.version, c.vectors, c.apart,
       'agent_memory_embeddings_' || a.agent_id AS partition,
       'near_' || a.agent_id || '_'
       || left(md5(format('%s:%s:%s:%s:indexed', c.model, c.dimension, c.version, $1::text)), 12) AS name
FROM counted c JOIN agents a USING (agent_name) ORDER BY a.agent_name, c.model, c.dimension, c.version
"""
_EXISTING = """
SELECT i.indexrelid::regclass::text AS name, i.indisvalid AS valid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
JOIN pg_inherits h ON h.inhrelid = i.indrelid AND h.inhparent = 'agent_memory_embeddings'::regclass
WHERE am.amname = 'hnsw'
"""
# In the words of `candidates`: the planner compares text. Only one-statement strings may run CONCURRENTLY.
_CREATE = """
SELECT format('CREATE INDEX CONCURRENTLY %I ON %I USING hnsw ((embedding::vector(%s)) vector_cosine_ops) WITH (%s)'
              ' WHERE recallable AND indexed AND model = %L AND dimension = %s AND version = %L', $1::text, $2::text,
              $4::integer, $6::text, $3::text, $4::integer, $5::text)
"""
# In small steps: who judges one of these outcomes waits for one step at most.
_JOIN = """
UPDATE agent_memory_embeddings SET indexed = true
WHERE agent_name = $1 AND recallable AND memory_id IN (
    SELECT memory_id FROM agent_memory_embeddings
    WHERE agent_name = $1 AND recallable AND NOT indexed AND model = $2 AND dimension = $3 AND version = $4 LIMIT $5)
    AND model = $2 AND dimension = $3 AND version = $4
"""
_STEP = 100
_TIDY = "SELECT format('VACUUM (ANALYZE) %I', $1::text)"
# A graph that does not fit takes twice as long. Half of what PostgreSQL caches pages in is free on any server.
_MEMORY = """
SELECT set_config('maintenance_work_mem',
                  greatest(256, pg_size_bytes(current_setting('shared_buffers')) / 2 / 1024 / 1024) || 'MB', false)
"""
_DROP = "SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I', $1::text)"
# Harder than the memories themselves: 0.94 found where of these 0.97 were, and of new questions 0.98.
_SAMPLE = """
SELECT (SELECT array_agg(x + $6 * vector_norm(embedding) / sqrt(vector_dims(embedding)) * random_normal())
        FROM unnest(embedding::real[]) AS u (x))::vector::text
FROM agent_memory_embeddings
WHERE agent_name = $1 AND recallable AND model = $2 AND dimension = $3 AND version = $4 ORDER BY random() LIMIT $5
"""
# Not in the index's words, so that no index answers: a planner that was forbidden index scans took it all the same
# (PostgreSQL 18, where one partition of a table is left). What is not recallable is left out as by `candidates`.
_EXACT = """
SELECT m.id FROM (
    SELECT memory_id FROM agent_memory_embeddings
    WHERE agent_name = $1 AND recallable AND model = $2 AND dimension = $3 AND version = $4
    ORDER BY embedding <=> $5::text::vector LIMIT $6) AS nearest
JOIN agent_memories m ON m.agent_name = $1 AND m.id = nearest.memory_id
WHERE m.state = 'succeeded' AND m.solution_approach <> ''
"""
_ASK_THE_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_custom_plan"
_NOISE = 0.5  # length beside the memory's: a cosine of 0.89 to it


async def maintain_indexes(
    connection: Connection,
    *,
    above: int = ABOVE,
    least_found: float = FOUND,
    report: Callable[[Indexed], None] = lambda _: None,
) -> list[Indexed]:
    """Make what is missing above `above` vectors, drop what is below half of it or of a former space; as the owner.

    Nobody who writes or recalls waits for it. Ended at any point, the next run mends what was left half made.
    """
    existing = {row["name"]: row["valid"] for row in await connection.fetch(_EXISTING)}
    done = []
    wanted = set()
    await connection.execute(_MEMORY)
    for row in await connection.fetch(_STATE, _BUILT_WITH):
        name, vectors = row["name"], row["vectors"]
        space = Space(row["model"], row["dimension"], row["version"])
        # Each vector that joins costs ten times what it costs in a build.
        if existing.get(name) and vectors > max(above // 2, 2 * row["apart"]):
            wanted.add(name)
            joined = await _join(connection, row["agent_name"], space, row["partition"])
            done.append(Indexed(row["agent_name"], space, vectors, "kept", joined=joined))
        elif vectors > above:
            await _drop(connection, name)  # half made by a run that was ended, or outgrown
            await _join(connection, row["agent_name"], space, row["partition"])
            await connection.execute(
                await connection.fetchval(
                    _CREATE, name, row["partition"], space.model, space.dimension, space.version, _BUILT_WITH
                )
            )
            found = await _found(connection, row["agent_name"], space)
            if found < least_found:
                await _drop(connection, name)
            else:
                wanted.add(name)
            action: Literal["made", "refused"] = "made" if found >= least_found else "refused"
            done.append(Indexed(row["agent_name"], space, vectors, action, found))
        elif name in existing:
            done.append(Indexed(row["agent_name"], space, vectors, "dropped"))
        else:
            continue
        report(done[-1])
    for name in sorted(existing.keys() - wanted):
        await _drop(connection, name)
    return done


async def _drop(connection: Connection, name: str) -> None:
    await connection.execute(await connection.fetchval(_DROP, name))


async def _join(connection: Connection, agent: str, space: Space, partition: str) -> int:
    """Let the index know, or be built of, what was stored since; how many vectors."""
    joined = 0
    arguments = (agent, space.model, space.dimension, space.version, _STEP)
    while status := int((await connection.execute(_JOIN, *arguments)).rsplit(" ", 1)[1]):
        joined += status
    if joined:
        await connection.execute(await connection.fetchval(_TIDY, partition))
    return joined


async def _found(connection: Connection, agent: str, space: Space) -> float:
    """Share of the exact nearest that the index finds, for questions near memories."""
    of_space = (agent, space.model, space.dimension, space.version)
    found = possible = 0
    for (vector,) in await connection.fetch(_SAMPLE, *of_space, _SAMPLES, _NOISE):
        exact = {row["id"] for row in await connection.fetch(_EXACT, *of_space, vector, _NEAREST)}
        async with connection.transaction():
            await connection.execute(_ASK_THE_INDEX)
            near = await candidates(connection, agent, "", vector, space, near=_NEAREST, worded=0, newest=0)
        found += len(exact & {row["id"] for row in near})
        possible += len(exact)
    return found / max(1, possible)
