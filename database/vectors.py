"""The vectors of memories: which space is current, which memories lack one in it, and storing many at once."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from database.connect import Connection, Pool
from database.embeddings.protocol import Embedder
from errors import SettingsError


@dataclass(frozen=True, slots=True)
class Space:
    """Only vectors of one space can be compared with each other."""

    model: str
    dimension: int
    version: str

    @classmethod
    def of(cls, embedder: Embedder) -> Space:
        return cls(embedder.model, embedder.dimension, embedder.version)

    @property
    def setting(self) -> str:
        """As EMBEDDING_MODEL and `reembed --to` write it."""
        return self.model if self.model == "minilm" else f"openai:{self.model}:{self.dimension}"

    def __str__(self) -> str:
        return f"{self.model} (dimension {self.dimension}, version {self.version})"


_CURRENT = "SELECT model, dimension, version FROM embedding_model"
_ADOPT = "INSERT INTO embedding_model (model, dimension, version) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


async def current_space(connection: Connection | Pool) -> Space | None:
    """The space of new missions and memories; None before anything was embedded."""
    row = await connection.fetchrow(_CURRENT)
    return None if row is None else Space(*row)


async def adopt_space(connection: Connection | Pool, space: Space) -> None:
    """Make `space` the current one where there is none. Raises SettingsError where another one is current."""
    await connection.execute(_ADOPT, space.model, space.dimension, space.version)
    current = await current_space(connection)
    if current is not None and current != space:
        raise SettingsError(
            f"memories are embedded with {current}, EMBEDDING_MODEL asks for {space}",
            f"set EMBEDDING_MODEL={current.setting}, or change all memories first:"
            f" `python -m database reembed --to {space.setting}`",
        )


@dataclass(frozen=True, slots=True)
class Unembedded:
    """A success that can be recalled but for its vector; one without a solution, as an erased one, never is."""

    agent: str
    memory_id: UUID
    text: str


# Of a finished work, too, only what its issue said: that is what the similarity was calibrated on.
_UNEMBEDDED = """
SELECT m.agent_name, m.id, m.issue_title || E'\\n' || m.issue_body AS text FROM agent_memories m
WHERE m.agent_name = $1 AND m.id > $2 AND m.state = 'succeeded' AND m.solution_approach <> '' AND NOT EXISTS (
    SELECT FROM agent_memory_embeddings e
    WHERE e.agent_name = $1 AND e.memory_id = m.id AND e.model = $3 AND e.dimension = $4 AND e.version = $5)
ORDER BY m.id LIMIT $6
"""
_COUNT_UNEMBEDDED = """
SELECT count(*) FROM agent_memories m
WHERE m.state = 'succeeded' AND m.solution_approach <> '' AND NOT EXISTS (
    SELECT FROM agent_memory_embeddings e
    WHERE e.agent_name = m.agent_name AND e.memory_id = m.id AND e.model = $1 AND e.dimension = $2 AND e.version = $3)
"""


async def unembedded_of(
    connection: Connection, agent: str, space: Space, *, after: UUID, most: int
) -> list[Unembedded]:
    """Up to `most` successes of one agent without a vector in `space`, by id, beyond the id `after`."""
    rows = await connection.fetch(
        _UNEMBEDDED, agent, after, space.model, space.dimension, space.version, most
    )
    return [Unembedded(*row) for row in rows]


async def count_unembedded(connection: Connection, space: Space) -> int:
    """How many successes have no vector in `space`."""
    count: int = await connection.fetchval(_COUNT_UNEMBEDDED, space.model, space.dimension, space.version)
    return count


# Its own and the foreign key's, which would still scan a partition that was small when this session first asked.
_FORGET_PLANS = "DISCARD PLANS"
_SCHEMA = """
SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'
"""
# One agent a call, planned for it, which reads its partition alone: a query for those of all at once reads the memories
# of all agents or visits every partition for each vector, and one plan for every agent is made anew (0.2 s with 1,000
# agents) whenever a vacuum finds any partition grown.
# FOR SHARE: a verdict that is being written at this moment must not leave its vector recallable by mistake.
_ADD = """
INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
SELECT m.agent_name, m.id, $1, $2, $3, m.state = 'succeeded', v.embedding
FROM unnest($5::uuid[], $6::vector[]) AS v (memory_id, embedding) JOIN agent_memories m ON m.id = v.memory_id
WHERE m.agent_name = $4 AND m.erased_at IS NULL
FOR SHARE OF m
ON CONFLICT (agent_name, memory_id, model, dimension, version) DO UPDATE
    SET recallable = EXCLUDED.recallable, embedding = EXCLUDED.embedding
RETURNING 1
"""


async def add_vectors(
    connection: Connection, space: Space, vectors: Sequence[tuple[str, UUID, Sequence[float]]]
) -> int:
    """Store (agent, memory id, vector) in one transaction, as the schema's owner; how many.

    Vectors of memories that do not exist or were erased are left out; one that exists is replaced.
    """
    schema = await connection.fetchval(_SCHEMA)
    # Only while this runs: elsewhere vectors are written as text.
    await connection.set_type_codec("vector", schema=schema, encoder=bytes, decoder=bytes, format="binary")
    by_agent = groupby(sorted(vectors, key=itemgetter(0, 1)), key=itemgetter(0))
    try:
        async with connection.transaction():
            await connection.execute(_FORGET_PLANS)
            added = await connection.fetchmany(
                _ADD, [_arguments(space, agent, own) for agent, own in by_agent]
            )
    finally:
        if not connection.is_closed():
            await connection.reset_type_codec("vector", schema=schema)
    return len(added)


def _arguments(
    space: Space, agent: str, vectors: Iterable[tuple[str, UUID, Sequence[float]]]
) -> tuple[object, ...]:
    _, ids, values = zip(*vectors, strict=True)
    return space.model, space.dimension, space.version, agent, ids, [_binary(value) for value in values]


def _binary(vector: Sequence[float]) -> bytes:
    """As vector_send writes it: the dimension, two unused bytes, big-endian floats (pgvector's src/vector.c)."""
    values = array("f", vector)
    if sys.byteorder == "little":
        values.byteswap()
    return struct.pack(">HH", len(values), 0) + values.tobytes()
