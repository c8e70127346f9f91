"""kill -9 of PostgreSQL in the middle of each command: nothing is half done, and the same again completes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from database.archive import read_archive
from database.backfill import Backfilled, backfill
from database.connect import AWAY, open_connection
from database.forget import forget
from database.missions import (
    Effect,
    Finish,
    Mission,
    NewMission,
    add_mission,
    claim_missions,
    finish_mission,
)
from database.owner import open_owner
from database.pull_requests import read_pull_requests
from database.reembed import Reembedded, reembed
from database.retention import load_retention
from database.transfer import export, import_archive
from database.vectors import Space, adopt_space, current_space
from errors import Unavailable
from runner.local.embedded import EmbeddedPostgres
from tests.servers.conftest import PASSWORD, Database, fresh_database, make_template
from tests.servers.database_command import until_blocked
from tests.servers.test_backfill import pull_request, write
from tests.servers.test_reembed import recalled_in
from tests.servers.test_transfer import everything
from tests.servers.word_embedder import WordEmbedder

AGENTS = ("cloud-architect", "secure-ninja")
WORKS = 40
OLD, NEW = WordEmbedder("old", 8), WordEmbedder("new", 12)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """One that writes to disk as in production, and may be killed."""
    server = EmbeddedPostgres(tmp_path / "pg" / "data", password=PASSWORD)
    await server.start()
    await make_template(server)
    yield server
    await server.stop()


@pytest.fixture
async def database(server: EmbeddedPostgres) -> AsyncIterator[Database]:
    async with fresh_database(server) as database:
        await database.register(*AGENTS)
        yield database


async def run_backfill(database: Database, folder: Path, embedder: WordEmbedder) -> Backfilled:
    entries = [pull_request(n, AGENTS[n % 2], author={"login": "zoe"}) for n in range(WORKS)[1:]]
    async with open_owner(database.url("agents_owner")) as owner:
        await adopt_space(owner, Space.of(OLD))
        return await backfill(owner, read_pull_requests(write(folder, entries)), "o/r", embedder)


async def run_reembed(database: Database, embedder: WordEmbedder) -> Reembedded:
    async with open_owner(database.url("agents_owner")) as owner:
        return await reembed(owner, embedder)


@asynccontextmanager
async def held(database: Database, lock: str) -> AsyncIterator[None]:
    """Somebody else holds what `lock` locks, until the server dies."""
    holder = await asyncpg.connect(database.url("postgres"))
    await holder.execute("BEGIN")
    await holder.execute(lock)
    try:
        yield
    finally:
        holder.terminate()


async def kill_when_blocked(database: Database, lock: str, running: Awaitable[object]) -> None:
    """Let `running` get as far as `lock` lets it, kill the server there, and start it again."""
    async with held(database, lock), open_connection(database.url("postgres")) as watcher:
        task = asyncio.ensure_future(running)
        await until_blocked(watcher)
        await database.server.kill()
        with pytest.raises(Unavailable, match="nothing is half done, run the command again"):
            await task
    await database.server.start()


async def test_a_server_that_is_killed_beside_a_busy_session_starts_again(server):
    busy = await asyncpg.connect(server.superuser_url)
    counting = asyncio.create_task(busy.fetchval("SELECT count(*) FROM generate_series(1, 200000000)"))
    async with open_connection(server.superuser_url) as watcher:
        while not await watcher.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query ~ '^SELECT count')"
        ):
            pass
        await server.kill()
    with pytest.raises(asyncpg.PostgresConnectionError):
        await counting
    await server.start()


async def counts(database: Database) -> dict[str, int]:
    async with open_owner(database.url("agents_owner")) as owner:
        return await everything(owner)


def killing(database: Database, at: int) -> WordEmbedder:
    """Kills the server while batch `at` is being embedded."""

    async def kill(batch: int) -> None:
        if batch == at:
            await database.server.kill()

    return WordEmbedder("old", 8, before_batch=kill)


async def assert_backfilled(database: Database) -> None:
    async with open_owner(database.url("agents_owner")) as owner:
        assert await owner.fetchval("SELECT count(*) FROM agent_memories") == WORKS - 1
        assert await owner.fetchval("SELECT count(DISTINCT mission_id) FROM agent_memories") == WORKS - 1
        assert (
            await owner.fetchval("SELECT count(*) FROM agent_memory_embeddings WHERE recallable") == WORKS - 1
        )
        assert await owner.fetchval("SELECT sum(total_missions) FROM agent_performance") == WORKS - 1


async def test_a_backfill_killed_while_it_stores_has_stored_nothing(database, tmp_path):
    lock = "SELECT FROM agent_performance FOR UPDATE"
    await kill_when_blocked(database, lock, run_backfill(database, tmp_path, OLD))
    assert (await counts(database))["agent_memories"] == 0
    assert (await run_backfill(database, tmp_path, OLD)).succeeded == WORKS - 1
    await assert_backfilled(database)


async def test_a_backfill_killed_while_it_embeds_goes_on_with_the_next_batch(database, tmp_path):
    with pytest.raises(Unavailable):
        await run_backfill(database, tmp_path, killing(database, at=2))
    await database.server.start()
    before = await counts(database)
    assert (before["agent_memories"], before["agent_memory_embeddings"]) == (WORKS - 1, WORKS // 2 - 1)
    done = await run_backfill(database, tmp_path, OLD)
    assert (done.succeeded, done.embedded) == (0, WORKS // 2), "only what was missing"
    await assert_backfilled(database)


@pytest.mark.parametrize(
    ("lock", "before"),
    [
        ("LOCK TABLE agent_memory_embeddings IN SHARE MODE", OLD),  # filling
        ("SELECT FROM embedding_model FOR UPDATE", OLD),  # switching
        ("SELECT FROM agent_memory_embeddings WHERE agent_name = 'secure-ninja' FOR UPDATE", NEW),  # removing
    ],
    ids=["filling", "switching", "removing"],
)
async def test_a_reembedding_killed_at_any_step_goes_on_and_recall_never_stops(
    database, tmp_path, lock, before
):
    await run_backfill(database, tmp_path, OLD)
    await kill_when_blocked(database, lock, run_reembed(database, NEW))
    async with open_owner(database.url("agents_owner")) as owner:
        assert await current_space(owner) == Space.of(before)
        assert await recalled_in(database, before) == 5
        assert (await run_reembed(database, NEW)).current == Space.of(NEW)
        spaces = await owner.fetch("SELECT model, count(*) FROM agent_memory_embeddings GROUP BY model")
        assert [tuple(row) for row in spaces] == [("new", WORKS - 1)]
    assert await recalled_in(database, NEW) == 5


async def run_export(database: Database, file: Path) -> None:
    async with open_owner(database.url("agents_owner")) as owner:
        await export(owner, file)


async def run_import(database: Database, file: Path) -> bool:
    async with open_owner(database.url("agents_owner")) as owner:
        with read_archive(file) as archive:
            return await import_archive(owner, archive)


async def test_an_export_killed_in_the_middle_leaves_no_file(database, tmp_path):
    file = tmp_path / "all.zip"
    await kill_when_blocked(database, "LOCK TABLE missions", run_export(database, file))
    assert list(tmp_path.glob("all.zip*")) == []
    await run_export(database, file)
    assert file.exists()


async def test_an_import_killed_in_the_middle_has_brought_nothing(database, server, tmp_path):
    await run_backfill(database, tmp_path, OLD)
    file = tmp_path / "all.zip"
    await run_export(database, file)
    async with fresh_database(server) as target:
        before = await counts(target)
        await kill_when_blocked(target, "SELECT FROM spending_caps FOR UPDATE", run_import(target, file))
        assert await counts(target) == before
        assert await run_import(target, file)
        await assert_backfilled(target)


async def test_an_erasure_killed_in_the_middle_has_erased_nothing(database, tmp_path):
    async def run_forget() -> int:
        async with open_owner(database.url("agents_owner")) as owner:
            return (await forget(owner, "zoe", load_retention({}), None)).memories

    await run_backfill(database, tmp_path, OLD)
    before = await counts(database)
    lock = "SELECT FROM agent_memories WHERE agent_name = 'secure-ninja' FOR UPDATE"
    await kill_when_blocked(database, lock, run_forget())
    assert await counts(database) == before
    assert await run_forget() == WORKS - 1
    assert (await counts(database))["agent_memory_embeddings"] == 0


async def test_outcomes_stored_while_the_server_dies_are_whole_or_not_there(database):
    agent = AGENTS[0]
    async with database.connect("gateway") as gateway:
        for number in range(WORKS):
            await add_mission(
                gateway, NewMission("o/r", number, "opened", "t", "b", [], "a", "US", "queued", agent)
            )
    acknowledged: set[object] = set()
    enough = asyncio.Event()
    async with database.agent_pool(agent, most=4) as pool:
        missions = await claim_missions(pool, agent, "r", most=WORKS)

        async def store(mission: Mission) -> None:
            effects = [Effect("comment", {"body": "x"})]
            try:
                if await finish_mission(pool, mission, Finish("done", solution="s", effects=effects)):
                    acknowledged.add(mission.id)
            except (*AWAY, asyncpg.PostgresError):
                pass
            if len(acknowledged) == WORKS // 4:
                enough.set()

        async def kill() -> None:
            await enough.wait()
            await database.server.kill()

        await asyncio.gather(kill(), *map(store, missions))
        assert len(acknowledged) >= WORKS // 4
        await database.server.start()
        assert acknowledged <= await assert_outcomes_are_whole(database)
        await asyncio.gather(*map(store, missions))
        assert len(await assert_outcomes_are_whole(database)) == WORKS
        assert await finish_mission(pool, missions[0], Finish("done", solution="again")) is False


async def assert_outcomes_are_whole(database: Database) -> set[object]:
    """The missions that are done: each with its one outcome and its one effect, and all counted."""
    async with open_owner(database.url("agents_owner")) as owner:
        done = {row["id"] for row in await owner.fetch("SELECT id FROM missions WHERE state = 'done'")}
        for query in (
            "SELECT mission_id FROM agent_memories",
            "SELECT mission_id FROM outbox WHERE kind = 'comment'",
        ):
            rows = [row["mission_id"] for row in await owner.fetch(query)]
            assert len(rows) == len(set(rows))
            assert set(rows) == done
        assert await owner.fetchval("SELECT sum(total_missions) FROM agent_performance") == len(done)
        return done
