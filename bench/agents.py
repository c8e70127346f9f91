"""`python -m bench.agents [--agents N …] [--json]`: what more agents cost, since each one has two partitions.

Registers them in an empty database, gives one of them 200 memories, and times what stays in one partition and what
passes over all. Seconds, the best of three where it is repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.memory.ours import PASSWORD, SPACE, make_schema
from database.connect import Pool, open_connection, open_pool
from database.memory import Embedded, Outcome, recall, store_outcome, unembedded, vector_text
from database.performance import dashboard
from database.registry import Registration, register_agents, set_passwords
from database.retention import load_retention, prune
from database.vectors import adopt_space
from runner.local.embedded import EmbeddedPostgres

MEMORIES = 200
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds with so many agents. `page`: the figures of memory; `look`: for what was not embedded."""

    agents: int
    register: float
    again: float
    store: float
    recall: float
    page: float
    look: float
    prune: float


async def measure(count: int) -> Figures:
    """On a server of its own."""
    known = [Registration(f"agent-{number:04}", f"{number:04}", "x", "0") for number in range(count)]
    one = known[count // 2]
    with tempfile.TemporaryDirectory(prefix="bench-agents-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", password=PASSWORD)
        await server.start()
        try:
            async with open_connection(server.superuser_url) as superuser:
                await superuser.execute("CREATE DATABASE bench")
            owner_url, gateway_url = await make_schema(server, "bench")
            async with open_connection(owner_url) as owner:
                register = await _seconds(lambda: register_agents(owner, known), rounds=1)
                again = await _seconds(lambda: register_agents(owner, known))
                await set_passwords(owner, {one.role: PASSWORD})
                await adopt_space(owner, SPACE)
            agent_url = server.url(one.role, PASSWORD, "bench")
            async with (
                open_pool(gateway_url, most=1, application="bench") as gateway,
                open_pool(agent_url, most=1, application="bench") as agent,
            ):
                times = await _work(gateway, agent, one.agent)
        finally:
            await server.stop()
    return Figures(count, register, again, **times)


async def _work(gateway: Pool, agent: Pool, name: str) -> dict[str, float]:
    chance = random.Random(0)

    def drawn() -> Embedded:
        vector = vector_text([chance.gauss(0, 1) for _ in range(SPACE.dimension)])
        return Embedded(vector, SPACE.model, SPACE.version)

    async def store(number: int) -> None:
        outcome = Outcome(name, uuid4(), "o/r", number, f"Move cluster {number}", "s", "succeeded", "bench")
        await store_outcome(gateway, outcome, drawn())

    for number in range(MEMORIES):
        await store(number)
    retention, asked = load_retention({}), drawn()
    async with gateway.acquire() as connection:
        pruned = await _seconds(lambda: prune(connection, retention))
    return {
        "store": await _seconds(lambda: store(MEMORIES)),
        "recall": await _seconds(lambda: recall(agent, name, title="Move a cluster", embedded=asked)),
        "page": await _seconds(lambda: dashboard(gateway)),
        "look": await _seconds(lambda: unembedded(gateway, SPACE, 64)),
        "prune": pruned,
    }


async def _seconds(work: Callable[[], Awaitable[Any]], rounds: int = ROUNDS) -> float:
    """The best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        await work()
        best = min(best, time.perf_counter() - started)
    return round(best, 4)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.agents", description=__doc__)
    parser.add_argument("--agents", type=int, nargs="+", default=[66, 1_000])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [asdict(asyncio.run(measure(count))) for count in options.agents]
    if options.json:
        print(json.dumps(rows))
        return
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(f"{value:,}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
