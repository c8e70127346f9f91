"""Embeds every success that has no vector in a space yet; ended at any point, the next run goes on from there."""

from __future__ import annotations

from uuid import UUID

from database.connect import Connection
from database.embeddings.protocol import Embedder
from database.progress import progress
from database.vectors import Space, add_vectors, count_unembedded, unembedded_of

BATCH = 128  # each is one transaction, and what a crash may cost
_AGENTS = "SELECT agent_name FROM agents ORDER BY agent_name"


async def embed_memories(connection: Connection, embedder: Embedder) -> int:
    """Embed what is missing in the embedder's space, agent by agent, as the schema's owner; how many.

    What is learned meanwhile by an agent that was done already is left for another call.
    """
    space = Space.of(embedder)
    waiting = await count_unembedded(connection, space)
    stored = 0
    with progress(f"embedding with {space.model}", waiting) as advance:
        for row in await connection.fetch(_AGENTS) if waiting else ():
            after = UUID(int=0)
            while batch := await unembedded_of(connection, row["agent_name"], space, after=after, most=BATCH):
                vectors = await embedder.embed([memory.text for memory in batch])
                stored += await add_vectors(
                    connection,
                    space,
                    [(m.agent, m.memory_id, vector) for m, vector in zip(batch, vectors, strict=True)],
                )
                after = batch[-1].memory_id
                advance(len(batch))
    return stored
