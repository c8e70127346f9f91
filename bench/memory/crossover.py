"""`python -m bench.memory.crossover [--json]`: from how many vectors on an index of one partition pays.

One agent, vectors around 200 topics, the five nearest through `nearest` with the agent's own role: exactly, and with
the HNSW index that `python -m database index` makes. CPU milliseconds of the session, the best of five runs, because
they suffer least from what else the machine does; wall-clock beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.memory.corpus import SPREAD, TOPICS, row_id
from bench.memory.ours import PASSWORD, held_open, make_schema, past_outcome
from database.connect import Connection, Pool, open_connection
from database.indexes import maintain_indexes
from database.memory import Embedded, nearest, vector_text
from database.outcomes import add_outcomes
from database.registry import Registration, register_agents, set_passwords
from database.vectors import Space, add_vectors, adopt_space
from runner.local.embedded import EmbeddedPostgres

AGENT = "bench-agent"
SIZES = (500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000)
DIMENSIONS = (384, 1536)
QUESTIONS, ROUNDS = 100, 5


@dataclass(frozen=True, slots=True)
class Crossover:
    """One size of a partition. `found`: share of the exact five that the index finds."""

    dimension: int
    vectors: int
    exact_cpu_ms: float
    exact_ms: float
    indexed_cpu_ms: float
    indexed_ms: float
    found: float
    build_s: float


async def measure(dimension: int) -> list[Crossover]:
    """Grow one partition through all sizes."""
    chance = np.random.default_rng(dimension)
    topics = _unit(chance.standard_normal((TOPICS, dimension)))

    def draw(count: int) -> Any:
        noise = chance.standard_normal((count, dimension)) * (SPREAD / dimension**0.5)
        return _unit(topics[chance.integers(0, TOPICS, count)] + noise)

    space = Space("bench", dimension, "1")
    asked = [Embedded(vector_text(each.tolist()), space.model, space.version) for each in draw(QUESTIONS)]
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-crossover-") as name:
        server = EmbeddedPostgres(Path(name) / "postgres", password=PASSWORD, durable=False)
        await server.start()
        try:
            owner_url = await _prepare(server, space)
            async with open_connection(owner_url) as owner:
                stored = 0
                for size in SIZES:
                    await _add(owner, space, draw(size - stored), stored)
                    stored = size
                    rows.append(await _compare(server, owner, asked, dimension, size))
        finally:
            await server.stop()
    return rows


async def _prepare(server: EmbeddedPostgres, space: Space) -> str:
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute("CREATE DATABASE bench")
    owner_url, _ = await make_schema(server, "bench")
    async with open_connection(owner_url) as owner:
        agent = Registration(AGENT, AGENT, "bench", "0")
        await register_agents(owner, [agent])
        await set_passwords(owner, {agent.role: PASSWORD})
        await adopt_space(owner, space)
    return owner_url


async def _add(owner: Connection, space: Space, vectors: Any, start: int) -> None:
    rows = range(start, start + len(vectors))
    await add_outcomes(owner, [past_outcome(AGENT, row, f"memory {row}", succeeded=True) for row in rows])
    packed = [
        (AGENT, row_id(row), array("f", vector.tobytes())) for row, vector in zip(rows, vectors, strict=True)
    ]
    await add_vectors(owner, space, packed)
    await owner.execute("VACUUM ANALYZE agent_memories, agent_memory_embeddings")


async def _compare(
    server: EmbeddedPostgres, owner: Connection, asked: Sequence[Embedded], dimension: int, size: int
) -> Crossover:
    url = server.url(f"agent-{AGENT}", PASSWORD, "bench")
    async with held_open(url, most=1) as pool:
        exact_cpu, exact_ms, exact = await _time(pool, asked)
        started = time.monotonic()
        await maintain_indexes(owner, above=0, least_found=0.0)
        built = time.monotonic() - started
        indexed_cpu, indexed_ms, indexed = await _time(pool, asked)
    await maintain_indexes(owner, above=10**9)
    right = sum(len(one & other) for one, other in zip(exact, indexed, strict=True))
    return Crossover(
        dimension,
        size,
        round(exact_cpu, 3),
        round(exact_ms, 3),
        round(indexed_cpu, 3),
        round(indexed_ms, 3),
        round(right / sum(len(one) for one in exact), 4),
        round(built, 1),
    )


async def _time(pool: Pool, asked: Sequence[Embedded]) -> tuple[float, float, list[set[Any]]]:
    pid = await pool.fetchval("SELECT pg_backend_pid()")
    schedstat = Path(f"/proc/{pid}/schedstat")
    cpu, wall = [], []
    for _ in range(ROUNDS):
        before, started = int(schedstat.read_text().split()[0]), time.perf_counter()
        answers = [{each.memory_id for each in await nearest(pool, AGENT, one)} for one in asked]
        wall.append((time.perf_counter() - started) * 1000 / len(asked))
        cpu.append((int(schedstat.read_text().split()[0]) - before) / 1e6 / len(asked))
    return min(cpu), min(wall), answers


def _unit(vectors: Any) -> Any:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory.crossover", description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [row for dimension in DIMENSIONS for row in asyncio.run(measure(dimension))]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print("| dimension | vectors | exact CPU ms | exact ms | index CPU ms | index ms | found | build s |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(f"{value:,}" for value in asdict(row).values()) + " |")


if __name__ == "__main__":
    main()
