"""Our memory: each agent through its own login role, under row-level security."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import asyncpg

from bench.memory.contender import AT_REST, BATCH, Answer, Job, Loaded, Parts, Turns, Watch
from bench.memory.corpus import Corpus, row_id
from database.connect import SERVER_SETTINGS, Connection, Pool, keep_session, open_connection, open_pool
from database.indexes import maintain_indexes
from database.memory import Embedded, Outcome, nearest, recall, store_outcome, vector_text
from database.migrate import migrate
from database.outcomes import PastOutcome, add_outcomes
from database.registry import Registration, register_agents, set_passwords
from database.vectors import Space, add_vectors, adopt_space
from runner.local.embedded import EmbeddedPostgres

SPACE = Space("minilm", 384, "bench")
PASSWORD = "of-the-benchmark"  # noqa: S105
_CHUNK = 100_000  # rows a transaction; a backfill takes a whole file as one


async def make_schema(server: EmbeddedPostgres, database: str) -> tuple[str, str]:
    """The schema in an empty database, by its owner, who is no superuser, as on RDS; the owner's and gateway's URLs."""
    async with open_connection(server.url("postgres", PASSWORD, database)) as superuser:
        await superuser.execute(f"CREATE ROLE agents_owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        await superuser.execute(f"ALTER DATABASE {database} OWNER TO agents_owner")
        await superuser.execute("CREATE EXTENSION vector")
        await superuser.execute("GRANT pg_checkpoint TO agents_owner")
    owner_url = server.url("agents_owner", PASSWORD, database)
    async with open_connection(owner_url) as owner:
        await migrate(owner)
        await set_passwords(owner, {"gateway": PASSWORD})
    return owner_url, server.url("gateway", PASSWORD, database)


def held_open(url: str, *, most: int) -> Pool:
    """As `open_pool`, but its connections stay open, as the peers' do; to be entered."""
    return asyncpg.create_pool(
        url,
        min_size=1,
        max_size=most,
        max_inactive_connection_lifetime=0,
        reset=keep_session,
        server_settings=SERVER_SETTINGS,
    )


class Ours:
    """Loads as owner and gateway, asks as the agents."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._pools: dict[int, Pool] = {}

    def close(self) -> None:
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()

    def load(self, corpus: Corpus) -> Loaded:
        return self._loop.run_until_complete(self._load(corpus))

    async def _load(self, corpus: Corpus) -> Loaded:
        owner_url, gateway_url = self._job.urls
        async with (
            open_connection(owner_url) as owner,
            open_pool(gateway_url, most=1, application="bench") as gateway,
        ):
            known = [Registration(name, name, "bench", "0") for name in corpus.names]
            await register_agents(owner, known)
            await set_passwords(owner, {each.role: PASSWORD for each in known} | {"gateway": PASSWORD})
            await adopt_space(owner, SPACE)
            await gateway.fetchval("SELECT 1")  # connected before anything is timed, as the peers are
            parts = Parts.of(len(corpus.agent))
            rest = range(parts.first.start, parts.middle.stop)
            single = await self._single(corpus, gateway, parts.single)
            batch = await self._bulk(corpus, owner, parts.batch, BATCH)
            bulk = await self._bulk(corpus, owner, rest, _CHUNK)
            started = time.monotonic()
            await owner.execute("VACUUM ANALYZE agent_memories, agent_memory_embeddings")
            await maintain_indexes(owner)
            indexed = time.monotonic() - started
            await owner.execute(AT_REST)
            bulk_full = await self._bulk(corpus, owner, parts.bulk_full, _CHUNK)
            single_full = await self._single(corpus, gateway, parts.single_full)
            ready = len(rest) / (len(rest) / bulk + indexed)
            return Loaded(single, batch, bulk, round(ready, 1), bulk_full, single_full, round(indexed, 1))

    async def _single(self, corpus: Corpus, gateway: Pool, rows: range) -> float:
        """Rows a second."""
        watch = Watch()
        for row in rows:
            vector = corpus.vectors[row].tolist()
            outcome = Outcome(
                agent_name=corpus.names[corpus.agent[row]],
                mission_id=row_id(row),
                repository="bench/bench",
                issue_number=row,
                issue_title=corpus.title(row),
                solution_approach=f"solution {row}",
                state="succeeded" if corpus.success[row] else "failed",
                proven_by="bench",
            )
            with watch:
                await store_outcome(gateway, outcome, _embedded(vector))
        return watch.rate(len(rows))

    async def _bulk(self, corpus: Corpus, owner: Connection, all_rows: range, count: int) -> float:
        """Rows a second."""
        watch = Watch()
        for start in all_rows[::count]:
            rows = range(start, min(start + count, all_rows.stop))
            outcomes = [_outcome(corpus, row) for row in rows]
            vectors = [
                (each.agent_name, each.id, array("f", corpus.vectors[row].tobytes()))
                for row, each in zip(rows, outcomes, strict=True)
            ]
            with watch:
                async with owner.transaction():
                    await add_outcomes(owner, outcomes)
                    await add_vectors(owner, SPACE, vectors)
        return watch.rate(len(all_rows))

    def connect(self, corpus: Corpus, questions: Sequence[int]) -> None:
        one_each = {int(corpus.asker[question]): question for question in questions}
        self.search(corpus, Turns([*one_each.values()] * 2, self._job.seconds))

    def search(self, corpus: Corpus, turns: Turns) -> list[Answer]:
        return self._loop.run_until_complete(self._search(corpus, turns))

    async def _search(self, corpus: Corpus, turns: Turns) -> list[Answer]:
        answers = []

        async def client() -> None:
            for question in turns:
                pool = await self._pool(corpus, int(corpus.asker[question]))
                vector, agent = corpus.questions[question].tolist(), corpus.names[corpus.asker[question]]
                title = corpus.question(question)
                started = time.perf_counter()
                if self._job.words:
                    found = await recall(pool, agent, title=title, embedded=_embedded(vector))
                else:
                    found = await nearest(pool, agent, _embedded(vector))
                seconds = time.perf_counter() - started
                answers.append(Answer(question, [each.issue_number for each in found], seconds))

        async with asyncio.TaskGroup() as group:
            for _ in range(self._job.clients):
                group.create_task(client())
        return answers

    def reach(self, corpus: Corpus, questions: Sequence[int]) -> int:
        return self._loop.run_until_complete(self._reach(corpus, questions))

    async def _reach(self, corpus: Corpus, questions: Sequence[int]) -> int:
        reached = 0
        for question in questions:
            asker = int(corpus.asker[question])
            other = corpus.names[(asker + 1) % len(corpus.names)]
            asked = _embedded(corpus.questions[question].tolist())
            reached += bool(await nearest(await self._pool(corpus, asker), other, asked))
        return reached

    async def _pool(self, corpus: Corpus, agent: int) -> Pool:
        if agent not in self._pools:
            url = self._job.urls[1].replace("{role}", f"agent-{corpus.names[agent]}")
            pool = held_open(url, most=2)
            self._pools[agent] = await self._stack.enter_async_context(pool)
            await self._pools[agent].fetch("SELECT 1")
        return self._pools[agent]


def _embedded(vector: Sequence[float]) -> Embedded:
    return Embedded(vector_text(vector), SPACE.model, SPACE.version)


def _outcome(corpus: Corpus, row: int) -> PastOutcome:
    agent = corpus.names[corpus.agent[row]]
    return past_outcome(agent, row, corpus.title(row), succeeded=bool(corpus.success[row]))


def past_outcome(agent: str, row: int, title: str, *, succeeded: bool) -> PastOutcome:
    """A row as the bulk load takes it."""
    return PastOutcome(
        agent_name=agent,
        id=row_id(row),
        mission_id=row_id(row),
        repository="bench/bench",
        issue_number=row,
        issue_title=title,
        issue_body="",
        issue_labels=(),
        issue_author="",
        solution_approach=f"solution {row}",
        files=(),
        state="succeeded" if succeeded else "failed",
        proven_by="bench",
        proven_at=datetime(2026, 1, 1, tzinfo=UTC),
        reverted_at=None,
        resolution_time_minutes=10.0,
        pr_number=None,
        pr_merged=None,
    )
