"""Changes the embedding model of every memory while agents go on recalling: fill, switch, remove."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from database.connect import Connection
from database.embed_memories import BATCH, embed_memories
from database.embeddings.protocol import Embedder
from database.inbox import hold_inbox
from database.progress import progress
from database.vectors import Space, current_space
from errors import Unavailable

REMOVE_BATCH = 2_000  # vectors removed in one transaction


@dataclass(frozen=True, slots=True)
class Reembedded:
    """What a run did; all zeros where everything was as asked before."""

    former: Space | None
    current: Space
    embedded: int
    missions: int
    """Missions that were not finished and got a new vector."""
    removed: int
    """Vectors of other spaces."""


_LOCK = "SELECT pg_try_advisory_lock(hashtext('reembed'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('reembed'))"


async def reembed(connection: Connection, embedder: Embedder, *, keep_former: bool = False) -> Reembedded:
    """Bring every success, and every mission that is not finished, into the embedder's space; as the schema's owner.

    Old and new vectors stand side by side until one row says which are current; recall never mixes them. Ended at any
    point, the next run goes on from there. Raises Unavailable where the embedding service is away or another run has
    the lock.
    """
    if not await connection.fetchval(_LOCK):
        raise Unavailable("another `reembed` is at it; wait for its end")
    try:
        former, space = await current_space(connection), Space.of(embedder)
        embedded = await embed_memories(connection, embedder)
        missions = await _switch(connection, embedder)
        # What the gateway learned since, still in the former space.
        embedded += await embed_memories(connection, embedder)
        removed = 0 if keep_former else await _remove_others(connection, space)
    finally:
        if not connection.is_closed():
            await connection.execute(_UNLOCK)
    return Reembedded(former, space, embedded, missions, removed)


# A runner that holds one recalls by words alone; given back, it has the new vector.
_UNFINISHED = """
SELECT id, title || E'\\n' || body AS text FROM missions
WHERE state IN ('waiting', 'queued', 'running') AND embedding IS NOT NULL AND id <> ALL($4)
  AND (embedding_model, vector_dims(embedding), embedding_version) IS DISTINCT FROM ($1, $2, $3)
"""
_SWITCH = """
INSERT INTO embedding_model (model, dimension, version) VALUES ($1, $2, $3)
ON CONFLICT (only_row) DO UPDATE SET model = $1, dimension = $2, version = $3, since = now()
WHERE (embedding_model.model, embedding_model.dimension, embedding_model.version) IS DISTINCT FROM ($1, $2, $3)
"""
_UPDATE = """
UPDATE missions SET embedding = v.vector::vector, embedding_model = $1, embedding_version = $2
FROM unnest($3::uuid[], $4::text[]) AS v (id, vector)
WHERE missions.id = v.id AND state IN ('waiting', 'queued', 'running')
"""


async def _switch(connection: Connection, embedder: Embedder) -> int:
    """Make the space current, together with the vectors of the missions that are not finished; how many."""
    space = Space.of(embedder)
    vectors: dict[UUID, str] = {}
    await _embed_unfinished(connection, embedder, vectors)
    async with connection.transaction():
        # What was accepted meanwhile; what comes after the switch is embedded in the new space.
        await hold_inbox(connection)
        await _embed_unfinished(connection, embedder, vectors)
        await connection.execute(_SWITCH, space.model, space.dimension, space.version)
        await connection.execute(_UPDATE, space.model, space.version, list(vectors), list(vectors.values()))
    return len(vectors)


async def _embed_unfinished(connection: Connection, embedder: Embedder, vectors: dict[UUID, str]) -> None:
    """Add the vectors of missions that are not among them."""
    space = Space.of(embedder)
    rows = await connection.fetch(_UNFINISHED, space.model, space.dimension, space.version, list(vectors))
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        computed = await embedder.embed([row["text"] for row in batch])
        vectors.update(zip((row["id"] for row in batch), map(str, computed), strict=True))


_AGENTS = "SELECT agent_name FROM agents ORDER BY agent_name"
_OTHERS = """
SELECT count(*) FROM agent_memory_embeddings WHERE (model, dimension, version) IS DISTINCT FROM ($1, $2, $3)
"""
_REMOVE = """
DELETE FROM agent_memory_embeddings e
USING (SELECT memory_id, model, dimension, version FROM agent_memory_embeddings
       WHERE agent_name = $1 AND (model, dimension, version) IS DISTINCT FROM ($2, $3, $4) LIMIT $5) AS old
WHERE e.agent_name = $1 AND e.memory_id = old.memory_id
  AND (e.model, e.dimension, e.version) = (old.model, old.dimension, old.version)
"""


async def _remove_others(connection: Connection, space: Space) -> int:
    total: int = await connection.fetchval(_OTHERS, space.model, space.dimension, space.version)
    removed = 0
    with progress("removing former vectors", total) as advance:
        for row in await connection.fetch(_AGENTS) if total else ():
            while True:
                status = await connection.execute(
                    _REMOVE, row["agent_name"], space.model, space.dimension, space.version, REMOVE_BATCH
                )
                count = int(status.rsplit(" ", 1)[1])
                if not count:
                    break
                removed += count
                advance(count)
    return removed
