"""Memory as an agent has it: what it recalls, why, and what it never gets."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, fields
from decimal import Decimal
from uuid import uuid4

import asyncpg
import pytest

from database.memory import Embedded, Outcome, agent_stats, judge_outcome, nearest, recall, store_outcome
from errors import EmbeddingMismatch
from runner.local.embedded import EmbeddedPostgres
from tests.servers.conftest import PASSWORD, Database, make_template
from tests.servers.memories import remember, vector

AGENT, OTHER = "left-agent", "right-agent"
ISSUE = "Retry the webhook delivery when the queue is full"
NOISE = ("Paint the dashboard blue", "Translate the manual", "Upgrade the compiler", "Sort invoices by date")


@pytest.fixture
async def known(database: Database) -> Database:
    """One agent with four unrelated successes."""
    await database.register(AGENT, OTHER)
    async with database.pool("gateway") as gateway:
        for seed, title in enumerate(NOISE):
            await remember(gateway, AGENT, title, embedded=vector(seed), files=(f"src/area{seed}/a.py",))
    return database


async def test_a_similar_success_comes_back_with_what_made_it_similar(known):
    issue = vector(100)
    async with known.pool("gateway") as gateway, known.agent_pool(AGENT) as pool:
        expected = await remember(
            gateway,
            AGENT,
            ISSUE,
            embedded=vector(101, near=issue, share=0.8),
            solution="Back off.",
            minutes=7,
        )
        (found,) = await recall(pool, AGENT, title=ISSUE, embedded=issue)
    assert (found.memory_id, found.solution_approach) == (expected, "Back off.")
    assert found.resolution_time_minutes == 7
    assert 0.7 <= found.similarity <= 1
    assert "webhook" in found.why
    assert "cosine 0.9" in found.why


async def test_words_alone_are_enough_where_nothing_was_embedded(known):
    async with known.pool("gateway") as gateway, known.agent_pool(AGENT) as pool:
        expected = await remember(gateway, AGENT, ISSUE)
        (found,) = await recall(pool, AGENT, title=ISSUE)
    assert found.memory_id == expected
    assert "webhook" in found.why
    assert "cosine" not in found.why


async def test_a_vector_counts_beside_the_words(known):
    """The same words with a near vector are more similar than with a far one."""
    issue = vector(100)
    async with known.pool("gateway") as gateway, known.agent_pool(AGENT) as pool:
        near = await remember(gateway, AGENT, ISSUE, embedded=vector(101, near=issue, share=0.8))
        far = await remember(gateway, AGENT, ISSUE, embedded=vector(102))
        found = {
            each.memory_id: each.similarity
            for each in await recall(pool, AGENT, title=ISSUE, embedded=issue, threshold=0)
        }
    assert found[near] > found[far] + 0.1


async def test_at_most_five_come_the_most_similar_first(known):
    async with known.pool("gateway") as gateway, known.agent_pool(AGENT) as pool:
        for number in range(8):
            await remember(gateway, AGENT, ISSUE, body="again " * number, files=("src/queue/deep/push.py",))
        found = await recall(pool, AGENT, title=ISSUE)
        assert len(found) == 5
        similarities = [each.similarity for each in found]
        assert similarities == sorted(similarities, reverse=True)
        assert len(await recall(pool, AGENT, title=ISSUE, limit=2)) == 2


async def test_where_nothing_is_similar_nothing_comes(known):
    async with known.agent_pool(AGENT) as pool:
        assert await recall(pool, AGENT, title="Quarantine flaky browser tests", embedded=vector(7)) == []
        assert await recall(pool, OTHER, title=NOISE[0]) == []


@pytest.mark.parametrize(
    "title", ["", "?!…", "the and of", "\\ ' & | ! ( ) : *", "é" * 5000, "日本語の課題", "%_'; --"]
)
async def test_any_title_can_be_asked_for(known, title):
    async with known.agent_pool(AGENT) as pool:
        assert isinstance(await recall(pool, AGENT, title=title, body=title), list)


async def test_a_title_without_latin_letters_finds_its_like(known):
    async with known.pool("gateway") as gateway, known.agent_pool(AGENT) as pool:
        expected = await remember(gateway, AGENT, "очередь переполнена", embedded=vector(50))
        rows = await recall(pool, AGENT, title="очередь переполнена", embedded=vector(50), threshold=0)
    assert rows[0].memory_id == expected


@pytest.mark.parametrize("state", ["failed", "pending"])
async def test_what_is_not_proven_never_comes_back(known, state):
    async with known.pool("gateway") as gateway, known.agent_pool(AGENT) as pool:
        await remember(gateway, AGENT, ISSUE, state=state, embedded=vector(5))
        assert await recall(pool, AGENT, title=ISSUE, embedded=vector(5)) == []


async def test_the_nearest_vectors_come_in_order_however_far(known):
    issue = vector(100)
    async with known.pool("gateway") as gateway, known.agent_pool(AGENT) as pool:
        closest = await remember(gateway, AGENT, "x", embedded=vector(8, near=issue, share=0.9))
        close = await remember(gateway, AGENT, "y", embedded=vector(9, near=issue, share=0.6))
        found = await nearest(pool, AGENT, issue)
    assert [each.memory_id for each in found[:2]] == [closest, close]
    assert len(found) == 5
    assert [each.similarity for each in found] == sorted((e.similarity for e in found), reverse=True)


@pytest.mark.parametrize(
    "asked",
    [
        Embedded("[1,0,0]", "minilm", "test"),
        Embedded(vector(1).vector, "text-embedding-3-small", "test"),
        Embedded(vector(1).vector, "minilm", "another version"),
    ],
)
async def test_vectors_of_another_space_are_refused_with_the_command_that_mends_it(known, asked):
    async with known.connect("gateway") as gateway:
        await gateway.execute(
            "INSERT INTO embedding_model (model, dimension, version) VALUES ('minilm', 384, 'test')"
        )
    async with known.agent_pool(AGENT) as pool:
        with pytest.raises(
            EmbeddingMismatch, match=r"dimension 384, version test.*python -m database reembed"
        ):
            await recall(pool, AGENT, title=NOISE[0], embedded=asked)
        assert await recall(pool, AGENT, title=NOISE[0], embedded=vector(0))


async def test_a_connection_that_asks_again_plans_nothing(known):
    """Planning took most of a recall's time; the plan that stays is of this agent's partition alone."""
    prepared = (
        "SELECT name, custom_plans, generic_plans FROM pg_prepared_statements"
        " WHERE statement LIKE '%near AS%' AND statement NOT LIKE '%pg_prepared_statements%'"
    )
    async with known.agent_pool(AGENT, most=1) as pool, pool.acquire() as connection:
        for seed in range(12):
            await nearest(connection, AGENT, vector(seed))
        name, custom, generic = await connection.fetchrow(prepared)
        assert (custom, generic) == (5, 7)
        plan = "\n".join(
            row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE {name} ('{vector(1).vector}', '')")
        )
    partitions = set(re.findall(r"agent_memor(?:ies|y_embeddings)_(\d+)\b", plan))
    assert len(partitions) == 1, plan


async def test_storing_a_mission_again_changes_nothing_also_at_the_same_time(known):
    mission = uuid4()
    async with known.pool("gateway", most=8) as gateway:
        before = await agent_stats(gateway, AGENT)
        ids = await asyncio.gather(
            *(remember(gateway, AGENT, ISSUE, mission=mission, embedded=vector(3)) for _ in range(8))
        )
        after = await agent_stats(gateway, AGENT)
        assert len(set(ids)) == 1
        assert after.total_missions == before.total_missions + 1
        assert after.successful_missions == before.successful_missions + 1
        assert (
            await gateway.fetchval(
                "SELECT count(*) FROM agent_memory_embeddings WHERE memory_id = $1", ids[0]
            )
            == 1
        )


async def test_all_that_was_stored_is_there_again(known):
    outcome = Outcome(
        agent_name=AGENT,
        mission_id=uuid4(),
        repository="octo/planets",
        issue_number=77,
        issue_title="a title",
        solution_approach="a solution",
        state="succeeded",
        proven_by="a test",
        issue_body="a body",
        issue_labels=["bug", "help wanted"],
        issue_author="alice",
        lessons_learned="a lesson",
        files=["a.py", "b.py"],
        resolution_time_minutes=12.5,
        pr_number=78,
        pr_merged=True,
        review_score=90,
        tokens=1234,
        cost_usd=Decimal("0.25"),
        solution_authors=["bob"],
    )
    assert all(getattr(outcome, field.name) != field.default for field in fields(outcome))
    async with known.pool("gateway") as gateway:
        memory = await store_outcome(gateway, outcome)
        row = await gateway.fetchrow("SELECT * FROM agent_memories WHERE id = $1", memory)
    assert {name: row[name] for name in asdict(outcome)} == asdict(outcome)
    assert (row["agent_specialization"], row["success"]) == ("left-agent work", True)


async def test_what_an_agent_calls_its_own_success_waits_for_proof(known):
    mission = uuid4()
    async with known.agent_pool(AGENT) as pool, known.connect("gateway") as gateway:
        memory = await remember(pool, AGENT, ISSUE, mission=mission)
        assert await gateway.fetchval("SELECT state FROM agent_memories WHERE id = $1", memory) == "pending"
        assert await recall(pool, AGENT, title=ISSUE) == []
        assert await judge_outcome(gateway, mission, succeeded=True, by="person: closed") == memory
        assert [each.memory_id for each in await recall(pool, AGENT, title=ISSUE)] == [memory]
        await judge_outcome(gateway, mission, succeeded=False, by="pull request #2 merged", reverted=True)
        assert await recall(pool, AGENT, title=ISSUE) == []


async def test_what_is_stored_again_keeps_its_vector(known):
    mission = uuid4()
    async with known.agent_pool(AGENT) as pool:
        memory = await remember(pool, AGENT, "first", embedded=vector(1), mission=mission)
        assert await remember(pool, AGENT, "first", embedded=vector(2), mission=mission) == memory
    query = "SELECT embedding <-> $2::vector FROM agent_memory_embeddings WHERE memory_id = $1"
    async with known.connect("agents_owner") as owner:
        assert await owner.fetchval(query, memory, vector(1).vector) < 0.001


async def test_an_agent_names_no_pull_request_that_would_prove_its_work(known):
    outcome = Outcome(
        AGENT, uuid4(), "o/r", 1, "title", "solution", pr_number=7, pr_merged=True, review_score=100
    )
    async with known.agent_pool(AGENT) as pool:
        memory = await store_outcome(pool, outcome)
    query = "SELECT pr_number, pr_merged, review_score FROM agent_memories WHERE id = $1"
    async with known.connect("gateway") as gateway:
        row = await gateway.fetchrow(query, memory)
    assert tuple(row) == (None, None, None)


async def test_an_agent_stores_nothing_for_another(known):
    async with known.agent_pool(AGENT) as pool:
        with pytest.raises(
            asyncpg.InsufficientPrivilegeError, match="may not store an outcome of agent right-agent"
        ):
            await remember(pool, OTHER, "poison")
    async with known.pool("gateway") as gateway:
        with pytest.raises(asyncpg.ForeignKeyViolationError, match="no agent nobody"):
            await remember(gateway, "nobody", "x")


async def test_an_agent_without_missions_has_zeros(known):
    async with known.agent_pool(OTHER) as pool:
        stats = await agent_stats(pool, OTHER)
        assert (stats.total_missions, stats.success_rate, stats.standing) == (0, 0.0, "unproven")
        assert await agent_stats(pool, "never-seen") == type(stats)("never-seen")
        assert (await agent_stats(pool, AGENT)).total_missions == 0, "another's figures are not shown"


async def test_a_store_that_a_crash_cuts_off_leaves_all_of_it_or_nothing(tmp_path):
    server = EmbeddedPostgres(tmp_path / "data", password=PASSWORD)
    await server.start()
    try:
        await make_template(server)
        database = Database(server, "template")
        await database.register(AGENT)
        done = await _store_until_killed(database, server)
        await server.start()
        async with database.connect("gateway") as gateway:
            row = await gateway.fetchrow(
                "SELECT (SELECT count(*) FROM agent_memories) AS memories,"
                " (SELECT count(*) FROM agent_memory_embeddings) AS vectors,"
                " (SELECT total_missions FROM agent_performance) AS missions"
            )
        assert row is not None
        assert row["memories"] == row["vectors"] == row["missions"]
        assert done <= row["memories"] <= done + 4, "what was confirmed is there"
        assert done > 0
    finally:
        await server.stop()


async def _store_until_killed(database: Database, server: EmbeddedPostgres) -> int:
    done = 0
    enough = asyncio.Event()

    async def store(writer: int) -> None:
        nonlocal done
        number = 0
        while True:
            number += 1
            await remember(pool, AGENT, f"{writer} {number}", embedded=vector(number))
            done += 1
            if done >= 20:
                enough.set()

    async with database.pool("gateway", most=4) as pool:
        writers = [asyncio.create_task(store(writer)) for writer in range(4)]
        await asyncio.wait_for(enough.wait(), 100)
        await server.kill()
        ended = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(each, Exception) for each in ended)
    return done
