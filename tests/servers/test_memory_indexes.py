"""Indexes of large partitions: made and dropped while agents work, used unasked, and never at a loss."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from database.connect import Connection
from database.indexes import maintain_indexes
from database.memory import Embedded, judge_outcome, nearest
from tests.servers.conftest import Database
from tests.servers.database_command import command, until_blocked
from tests.servers.memories import remember, vector

AGENT, OTHER = "left-agent", "right-agent"
ROWS, MANY = 1_500, 3_000

# Around 20 points, as issues are around topics, and no two alike (what names `m` is drawn anew for each row); in one
# statement, since 1,500 stores would take long.
_FILL = """
WITH topic AS (
    SELECT t, (SELECT array_agg(sin(t * 7919 + i * 104729)) FROM generate_series(1, 384) AS i) AS centre
    FROM generate_series(1, 20) AS t),
memory AS (
    INSERT INTO agent_memories (agent_name, mission_id, agent_specialization, repository, issue_number, issue_title,
                                solution_approach, state)
    SELECT $1, gen_random_uuid(), 's', 'o/r', n, 'case ' || n, 's', 'succeeded'
    FROM generate_series($2::integer, $3::integer) AS n
    RETURNING id, issue_number)
INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
SELECT $1, m.id, 'minilm', 384, 'test', true,
       (SELECT array_agg(c + random_normal(0, 0.5)) FROM unnest(t.centre) AS u (c) WHERE m.id IS NOT NULL)::vector
FROM memory m JOIN topic t ON t.t = 1 + m.issue_number % 20
"""
_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
WHERE amname = 'hnsw'
"""
_APART = f"SELECT count(*) FROM agent_memory_embeddings WHERE agent_name = '{AGENT}' AND NOT indexed"
_WRITING = (
    "LOCK TABLE agent_memory_embeddings IN ROW EXCLUSIVE MODE"  # as each transaction that wrote holds it
)


async def indexes(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(_INDEXES)]


@pytest.fixture
async def grown(database: Database) -> Database:
    """One agent with many memories, one with few."""
    await database.register(AGENT, OTHER)
    async with database.connect("agents_owner") as owner:
        await owner.execute(
            "INSERT INTO embedding_model (model, dimension, version) VALUES ('minilm', 384, 'test')"
        )
        await owner.execute(_FILL, AGENT, 1, ROWS)
        await owner.execute(_FILL, OTHER, 1, 20)
        await owner.execute("ANALYZE agent_memories, agent_memory_embeddings")
    return database


async def asked(database: Database, agent: str) -> list[Embedded]:
    async with database.connect("gateway") as gateway:
        rows = await gateway.fetch(
            "SELECT embedding::text FROM agent_memory_embeddings WHERE agent_name = $1 ORDER BY memory_id LIMIT 20",
            agent,
        )
    return [vector(seed, near=Embedded(row[0], "minilm", "test"), share=0.8) for seed, row in enumerate(rows)]


async def test_only_a_large_partition_gets_an_index_and_recall_uses_it_and_finds_the_same(grown):
    async with grown.connect("agents_owner") as owner:
        await owner.execute(_FILL, AGENT, ROWS + 1, MANY)
        await owner.execute("ANALYZE agent_memories, agent_memory_embeddings")
    questions = await asked(grown, AGENT)
    async with grown.agent_pool(AGENT, most=1) as pool:
        exact = [await nearest(pool, AGENT, question) for question in questions]
    async with grown.connect("agents_owner") as owner:
        (made,) = await maintain_indexes(owner)
        assert (made.agent, made.vectors, made.action) == (AGENT, MANY, "made")
        assert made.found is not None
        assert made.found >= 0.99
        (name,) = await indexes(owner)
    # Statistics come when a session ends: what the check of the index itself used is not to be taken for ours.
    before = await until_used(grown, name, 200)
    async with grown.agent_pool(AGENT, most=1) as pool:
        found = [await nearest(pool, AGENT, question) for question in questions]
    right = sum(
        len({e.memory_id for e in a} & {e.memory_id for e in b}) for a, b in zip(exact, found, strict=True)
    )
    assert right / (5 * len(questions)) >= 0.99
    assert await until_used(grown, name, before + len(questions)) == before + len(questions)


async def until_used(database: Database, name: str, times: int) -> int:
    """How often the index was scanned, once it is `times` or more."""
    async with database.connect("agents_owner") as owner, asyncio.timeout(100):
        while True:
            scans: int = await owner.fetchval(
                "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1", name
            )
            if scans >= times:
                return scans
            await asyncio.sleep(0.05)


async def test_an_index_that_comes_while_a_connection_is_open_is_used_by_it(grown):
    """The connection keeps its plan of recall; a new index makes it plan anew."""
    async with grown.connect("agents_owner") as owner:
        await owner.execute(_FILL, AGENT, ROWS + 1, MANY)
        await owner.execute("ANALYZE agent_memories, agent_memory_embeddings")
    (question, *_) = await asked(grown, AGENT)
    async with grown.agent_pool(AGENT, most=1) as pool:
        for _ in range(10):
            await nearest(pool, AGENT, question)
        async with grown.connect("agents_owner") as owner:
            await maintain_indexes(owner)
            (name,) = await indexes(owner)
        before = await until_used(grown, name, 200)
        for _ in range(10):
            await nearest(pool, AGENT, question)
    assert await until_used(grown, name, before + 10) == before + 10


async def test_a_second_run_keeps_it_and_a_partition_that_shrank_loses_it(grown):
    async with grown.connect("agents_owner") as owner:
        await maintain_indexes(owner, above=1_000)
        before = await indexes(owner)
        assert [each.action for each in await maintain_indexes(owner, above=1_500)] == ["kept"]
        assert await indexes(owner) == before
        await owner.execute("DELETE FROM agent_memories WHERE issue_number > 300")
        assert [each.action for each in await maintain_indexes(owner, above=1_500)] == ["dropped"]
        assert await indexes(owner) == []


async def test_what_is_stored_later_is_recalled_at_once_and_joins_the_index_in_the_next_run(grown):
    async with grown.connect("agents_owner") as owner, grown.pool("gateway") as gateway:
        await maintain_indexes(owner, above=1_000)
        later = [await remember(gateway, AGENT, f"later {n}", embedded=vector(n)) for n in range(3)]
        assert await owner.fetchval(_APART) == len(later)
        async with grown.agent_pool(AGENT) as pool:
            for n, memory in enumerate(later):
                assert (await nearest(pool, AGENT, vector(n)))[0].memory_id == memory
            (kept,) = await maintain_indexes(owner, above=1_000)
            assert (kept.action, kept.joined) == ("kept", len(later))
            assert await owner.fetchval(_APART) == 0
            for n, memory in enumerate(later):
                assert (await nearest(pool, AGENT, vector(n)))[0].memory_id == memory
        (kept,) = await maintain_indexes(owner, above=1_000)
        assert kept.joined == 0


async def test_what_was_reverted_is_recalled_neither_from_the_index_nor_beside_it(grown):
    async with grown.connect("agents_owner") as owner, grown.pool("gateway") as gateway:
        early, late = uuid4(), uuid4()
        await remember(gateway, AGENT, "early", embedded=vector(1), mission=early)
        await maintain_indexes(owner, above=1_000)
        await remember(gateway, AGENT, "late", embedded=vector(1), mission=late)
        async with grown.agent_pool(AGENT) as pool:
            assert {"early", "late"} <= {each.issue_title for each in await nearest(pool, AGENT, vector(1))}
            for mission in (early, late):
                async with gateway.acquire() as connection:
                    await judge_outcome(connection, mission, succeeded=False, by="revert", reverted=True)
            assert not {"early", "late"} & {
                each.issue_title for each in await nearest(pool, AGENT, vector(1), limit=50)
            }


async def test_an_index_that_more_stands_beside_than_in_is_built_anew(grown):
    async with grown.connect("agents_owner") as owner:
        await maintain_indexes(owner, above=1_000)
        await owner.execute(_FILL, AGENT, ROWS + 1, 2 * ROWS + 1)
        (built,) = await maintain_indexes(owner, above=1_000)
        assert (built.action, built.vectors) == ("made", 2 * ROWS + 1)
        assert await owner.fetchval(_APART) == 0
        assert len(await indexes(owner)) == 1


async def test_the_index_of_a_former_model_goes(grown):
    async with grown.connect("agents_owner") as owner:
        await maintain_indexes(owner, above=1_000)
        await owner.execute("UPDATE embedding_model SET version = 'next'")
        await owner.execute(
            "UPDATE agent_memory_embeddings SET version = 'next' WHERE agent_name = $1", AGENT
        )
        (made,) = await maintain_indexes(owner, above=1_000)
        assert (made.action, made.space.version) == ("made", "next")
        assert len(await indexes(owner)) == 1


async def test_an_index_that_would_miss_what_is_near_is_not_kept(grown):
    """It looks at five vectors alone, so that not all it tells are the nearest. The planner prefers it anyway."""
    async with grown.connect("agents_owner") as owner:
        await owner.execute(_FILL, AGENT, ROWS + 1, MANY)
        await owner.execute("SET hnsw.ef_search = 5; SET hnsw.iterative_scan = off")
        (refused,) = await maintain_indexes(owner, above=1_000)
        assert refused.action == "refused"
        assert refused.found is not None
        assert refused.found < 0.99
        assert await indexes(owner) == []


async def test_nobody_waits_while_an_index_is_made_or_dropped(grown):
    """A transaction that wrote before holds the build up; writing and recalling go on meanwhile."""
    for above in (1_000, 10_000_000):
        async with (
            grown.connect("agents_owner") as owner,
            grown.connect("agents_owner") as slow,
            grown.pool("gateway") as gateway,
            grown.agent_pool(AGENT) as pool,
        ):
            earlier = slow.transaction()
            await earlier.start()
            await slow.execute(_WRITING)
            building = asyncio.create_task(maintain_indexes(owner, above=above))
            await until_blocked(slow)
            assert not building.done()
            async with asyncio.timeout(100):
                memory = await remember(
                    gateway, AGENT, "written meanwhile", embedded=vector(1), mission=uuid4()
                )
                found = await nearest(pool, AGENT, vector(1))
            assert found[0].memory_id == memory
            assert not building.done()
            await earlier.commit()
            await building
            if above == 1_000:
                assert (await nearest(pool, AGENT, vector(1)))[0].memory_id == memory, (
                    "the index knows it too"
                )
                async with grown.connect("agents_owner") as again:
                    await again.execute("DELETE FROM agent_memories WHERE id = $1", memory)


async def test_what_an_ended_run_left_half_made_is_mended(grown):
    async with grown.connect("agents_owner") as owner, grown.connect("agents_owner") as slow:
        earlier = slow.transaction()
        await earlier.start()
        await slow.execute(_WRITING)
        building = asyncio.create_task(maintain_indexes(owner, above=1_000))
        await until_blocked(slow)
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
        await earlier.rollback()
    async with grown.connect("agents_owner") as owner:
        invalid = (
            "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indexrelid::regclass::text LIKE 'near_%'"
        )
        assert await owner.fetchval(invalid) == 1
        assert [each.action for each in await maintain_indexes(owner, above=1_000)] == ["made"]
        assert await owner.fetchval(invalid) == 0


async def test_the_command_says_what_it_did(grown):
    code, out, _ = await command(grown, "index", "--above", "1000")
    assert code == 0
    assert f"{AGENT}: index of 1,500 vectors of minilm (dimension 384, version test) made, which finds" in out
    code, out, _ = await command(grown, "index", "--above", "10000000")
    assert "dropped" in out
    code, out, _ = await command(grown, "index")
    assert "all is scanned exactly" in out
