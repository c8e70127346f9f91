"""`python -m bench.data [--json]`: what a mission and a memory take on disk, and how fast data is loaded and moved.

Real PostgreSQL as `make run` starts it, the 66 agents, and texts of the sample issues. Growth is the difference of
table sizes (indexes and TOAST included) over many missions that run the whole way: delivery, mission, claim, money,
outcome, verdict, vector, comment. The bulk figures take vectors that are known, so no model is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from bench.servers import AGENTS, ROOT, Servers, servers
from database.archive import read_archive
from database.connect import Connection, Pool, open_connection, open_pool
from database.forget import forget
from database.inbox import Delivery, store_delivery
from database.memory import judge_outcome, vector_text
from database.migrate import migrate
from database.missions import Effect, Finish, NewMission, add_mission, claim_missions, finish_mission
from database.outcomes import PastOutcome, add_outcomes
from database.owner import open_owner
from database.reembed import reembed
from database.retention import load_retention, sizes
from database.spending import MissionWallet, set_cap
from database.transfer import export, import_archive
from database.vectors import Space, add_vectors, adopt_space
from runner.agents import Agent, load_agents
from runner.local.database import DATABASE
from runner.local.state import load_secrets

REPOSITORY = "local/repository"
MISSIONS = 1_000  # of one agent, the whole way
MEMORIES = 13_200  # in bulk: 200 of each agent
SMALL, LARGE = 384, 1536  # dimensions of MiniLM and of text-embedding-3-small
ANSWER = "What the agent proposes, in some detail. " * 25  # 1 KB


class KnownVectors:
    """Vectors that cost nothing."""

    def __init__(self, dimension: int) -> None:
        self.model = f"known-{dimension}"
        self.dimension = dimension
        self.version = "1"
        self._known = [vector(dimension) for _ in range(64)]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._known[number % len(self._known)] for number in range(len(texts))]

    async def close(self) -> None:
        """Nothing to close."""


def vector(dimension: int) -> list[float]:
    """Random: PostgreSQL compresses it no more than a real one."""
    return [random.gauss(0, 1) for _ in range(dimension)]


async def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.data", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    agents = load_agents(AGENTS)
    figures: dict[str, object] = {"memories": MEMORIES, "load_average": round(os.getloadavg()[0], 2)}
    async with servers(agents) as up:
        url = up.postgres.url("agents_owner", load_secrets(up.folder)["agents_owner"], DATABASE)
        async with open_owner(url) as owner:
            figures["bytes_per_mission"] = await growth(up, owner, agents[0])
            figures |= await bulk(up, owner, agents)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name}: {value}")
    return 0


def samples() -> list[dict[str, str]]:
    """Titles and bodies of the sample issues."""
    return [
        {"title": issue["title"], "body": issue["body"]}
        for issue in json.loads((ROOT / "samples" / "issues.json").read_text())
    ]


async def growth(up: Servers, owner: Connection, agent: Agent) -> Mapping[str, int]:
    """Bytes that one mission adds to each table, and in all."""
    async with open_connection(up.gateway_url) as gateway:
        for scope in ("day", "month"):
            await set_cap(gateway, scope, Decimal(1_000_000))
        before = await table_bytes(owner)
        texts = samples()
        async with open_pool(up.agent_url(agent), most=2, application="bench") as pool:
            for number in range(1, MISSIONS + 1):
                await work_one(gateway, pool, agent, number, texts[number % len(texts)])
    after = await table_bytes(owner)
    grown = {table: round((after[table] - before[table]) / MISSIONS) for table in after}
    found = {table: size for table, size in sorted(grown.items(), key=lambda item: -item[1]) if size}
    return {"all": sum(found.values()), **found}


async def table_bytes(owner: Connection) -> dict[str, int]:
    """Bytes of every table."""
    # What an update leaves behind is used again, and so is no growth.
    await owner.execute(
        "VACUUM (FULL, ANALYZE) inbox, outbox, missions, spending, spending_totals, agent_memories"
    )
    await owner.execute("VACUUM (FULL, ANALYZE) agent_memory_embeddings")
    return {size.table: size.bytes for size in await sizes(owner)}


async def work_one(
    gateway: Connection, pool: Pool, agent: Agent, number: int, text: Mapping[str, str]
) -> None:
    """One issue from its delivery to its vector, as gateway and runner do it."""
    author = {"login": "someone", "type": "User"}
    payload = {
        "action": "opened",
        "issue": {"number": number, **text, "labels": [], "user": author, "state": "open"},
        "repository": {"full_name": REPOSITORY},
        "sender": author,
    }
    await store_delivery(gateway, Delivery(str(uuid4()), "issues", REPOSITORY, payload), str(uuid4()) * 2)
    embedding = vector_text(vector(SMALL))
    await add_mission(
        gateway,
        NewMission(
            repository=REPOSITORY,
            issue_number=number,
            event="opened",
            title=text["title"],
            body=text["body"],
            labels=["bug"],
            author="someone",
            zone="US",
            state="queued",
            agent=agent.name,
            region="us-west-2",
            score=7.5,
            why=["words: cluster, deployment", "label: bug"],
            candidates=[{"agent": agent.name, "score": 7.5}, {"agent": "secure-ninja", "score": 3.1}],
            embedding=embedding,
            embedding_model="minilm",
            embedding_version="v",
        ),
    )
    await gateway.execute("DELETE FROM outbox WHERE kind = 'wake'")  # the relay does
    (mission,) = await claim_missions(pool, agent.name, "bench", most=1)
    wallet = MissionWallet(pool, mission)
    await wallet.settle(await wallet.reserve(Decimal("0.02")), Decimal("0.01"))
    recalled = [
        {
            "memory_id": str(uuid4()),
            "issue_number": n,
            "issue_title": text["title"],
            "similarity": 0.8,
            "why": "shares words",
        }
        for n in range(5)
    ]
    effects = [Effect("comment", {"body": ANSWER})]
    await finish_mission(
        pool,
        mission,
        Finish(
            "done", answer=ANSWER, solution=ANSWER, lessons=ANSWER[:200], recalled=recalled, effects=effects
        ),
    )
    await gateway.execute(
        "UPDATE outbox SET done_at = now(), payload = '{}' WHERE mission_id = $1", mission.id
    )
    memory = await judge_outcome(gateway, mission.id, succeeded=True, by="someone: closed")
    await gateway.execute(
        "SELECT store_embedding($1, $2, 'minilm', 'v', $3::vector)", agent.name, memory, embedding
    )


async def bulk(up: Servers, owner: Connection, agents: tuple[Agent, ...]) -> dict[str, object]:
    """Rows a second of every command on whole databases, and bytes of a memory and its vectors."""
    figures: dict[str, object] = {}
    texts = samples()
    outcomes = [past_outcome(agents[n % len(agents)].name, n, texts[n % len(texts)]) for n in range(MEMORIES)]
    small, large = KnownVectors(SMALL), KnownVectors(LARGE)
    vectors = [(outcome.agent_name, outcome.id, vector(SMALL)) for outcome in outcomes]
    before = await table_bytes(owner)
    with timed(figures, "outcomes_per_second", MEMORIES):
        await add_outcomes(owner, outcomes)
    await owner.execute("DELETE FROM embedding_model")
    await adopt_space(owner, Space.of(small))
    with timed(figures, f"vectors_{SMALL}_per_second", MEMORIES):
        await add_vectors(owner, Space.of(small), vectors)
    loaded = await table_bytes(owner)
    figures["bytes_per_memory"] = (loaded["agent_memories"] - before["agent_memories"]) // MEMORIES
    table = "agent_memory_embeddings"
    figures[f"bytes_per_vector_{SMALL}"] = (loaded[table] - before[table]) // MEMORIES

    file = up.folder / "bench.zip"
    with timed(figures, "export_seconds"):
        await export(owner, file)
    figures["export_bytes_per_memory"] = file.stat().st_size // MEMORIES
    async with empty_database(up) as url, open_owner(url) as target:
        with read_archive(file) as archive, timed(figures, "import_seconds"):
            await import_archive(target, archive)
    with timed(figures, "forget_seconds"):
        await forget(owner, "person-1", load_retention({}), None)
    with timed(figures, f"reembed_to_{LARGE}_per_second", MEMORIES):
        await reembed(owner, large)
    again = await table_bytes(owner)
    figures[f"bytes_per_vector_{LARGE}"] = (again[table] - before[table]) // MEMORIES
    return figures


def past_outcome(agent: str, number: int, text: Mapping[str, str]) -> PastOutcome:
    """A success with a sample issue's text."""
    return PastOutcome(
        agent_name=agent,
        id=uuid4(),
        mission_id=uuid4(),
        repository=REPOSITORY,
        issue_number=1_000_000 + number,
        issue_title=text["title"],
        issue_body=text["body"],
        issue_labels=["bug"],
        issue_author=f"person-{number % 132}",  # each wrote a hundred
        solution_approach=ANSWER,
        files=["src/one.py", "src/two.py"],
        state="succeeded",
        proven_by="pull request merged",
        proven_at=datetime.now(UTC),
        reverted_at=None,
        resolution_time_minutes=12.5,
        pr_number=number,
        pr_merged=True,
    )


@asynccontextmanager
async def empty_database(up: Servers) -> AsyncIterator[str]:
    """The owner's URL of a second database with the schema and nothing in it."""
    secrets = load_secrets(up.folder)
    async with open_connection(up.postgres.superuser_url) as superuser:
        await superuser.execute("CREATE DATABASE target OWNER agents_owner")
    async with open_connection(up.postgres.url("postgres", secrets["postgres"], "target")) as superuser:
        await superuser.execute("CREATE EXTENSION vector")
    url = up.postgres.url("agents_owner", secrets["agents_owner"], "target")
    async with open_connection(url) as owner:
        await migrate(owner)
    yield url


@contextmanager
def timed(figures: dict[str, object], name: str, count: int | None = None) -> Iterator[None]:
    """Notes how long the block took: in seconds, or as `count` a second."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    figures[name] = round(seconds, 2) if count is None else round(count / seconds)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
