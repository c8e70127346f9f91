"""What one agent may see and write: its own rows, and of its memory only successes. Kept by PostgreSQL."""

from __future__ import annotations

import asyncpg
import pytest

from database.control import pause
from database.memory import judge_outcome, past_works
from database.missions import Effect, Finish, NewMission, add_mission, claim_missions, finish_mission

LEFT, RIGHT = "left-agent", "right-agent"
MEMORY_TABLES = ("agent_memories", "agent_memory_embeddings", "agent_performance", "missions")


@pytest.fixture
async def two_agents(database):
    """Both agents have one proven success and one failure."""
    await database.register(LEFT, RIGHT)
    async with database.connect("gateway") as gateway:
        for number, agent in enumerate((LEFT, RIGHT, LEFT, RIGHT), start=1):
            await add_mission(gateway, new_mission(number, agent))
    for agent in (LEFT, RIGHT):
        async with database.agent_pool(agent) as pool, database.connect("gateway") as gateway:
            good, bad = await claim_missions(pool, agent, "r1", most=2)
            await finish_mission(pool, good, Finish("done", solution=f"secret of {agent}"))
            await finish_mission(pool, bad, Finish("failed", solution=f"failure of {agent}"))
            memory = await judge_outcome(gateway, good.id, succeeded=True, by="person: closed")
            await gateway.execute("SELECT store_embedding($1, $2, 'm', '1', '[1,0,0]')", agent, memory)
    return database


def new_mission(number: int, agent: str | None, **more) -> NewMission:
    fields = {
        "event": "opened",
        "title": f"issue {number}",
        "body": "",
        "labels": [],
        "author": "a",
        "zone": "US",
    }
    return NewMission(
        "o/r", number, state="queued" if agent else "abstained", agent=agent, score=9.0, **{**fields, **more}
    )


async def test_an_agent_reads_its_own_success_and_nobody_elses(two_agents):
    async with two_agents.connect_agent(LEFT) as left:
        rows = await left.fetch("SELECT agent_name, solution_approach FROM agent_memories")
        assert [tuple(row) for row in rows] == [(LEFT, f"secret of {LEFT}")]
        for table in MEMORY_TABLES:
            others = await left.fetchval(f"SELECT count(*) FROM {table} WHERE agent_name = $1", RIGHT)
            assert others == 0, table


async def test_failures_cannot_be_read_for_recall_even_by_their_own_agent(two_agents):
    async with two_agents.connect_agent(LEFT) as left:
        assert await left.fetchval("SELECT count(*) FROM agent_memories WHERE state <> 'succeeded'") == 0
        assert await left.fetchval("SELECT count(*) FROM missions") == 0, (
            "an ended mission tells how it failed"
        )


async def test_an_agent_cannot_start_a_mission_that_waits_for_somebody_who_may_spend(two_agents):
    async with two_agents.connect("gateway") as gateway:
        await gateway.execute("UPDATE missions SET state = 'waiting', finished_at = NULL")
    async with two_agents.connect_agent(LEFT) as left:
        assert await left.execute("UPDATE missions SET state = 'queued'") == "UPDATE 0"


async def test_partitions_cannot_be_read_around_the_policies(two_agents):
    async with two_agents.connect_agent(LEFT) as left, two_agents.connect("agents_owner") as owner:
        partitions = await owner.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits")
        assert len(partitions) >= 4
        tables = [row["name"] for row in partitions if row["name"].rpartition("_")[2].isdigit()]
        for table in tables:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await left.fetch(f"SELECT * FROM {table}")
            assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0, "FORCE binds the owner too"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO agent_memories (agent_name, mission_id, agent_specialization, repository, issue_number,"
        " issue_title, solution_approach) VALUES ('right-agent', gen_random_uuid(), 's', 'o/r', 9, 't', 's')",
        "UPDATE agent_memories SET solution_approach = 'poison'",
        "DELETE FROM agent_memories",
        "UPDATE missions SET agent_name = 'right-agent'",
        "UPDATE spending_caps SET usd = 1000000",
        "INSERT INTO agents (agent_name, role_name, specialization) VALUES ('x', 'agent-left-agent', 's')",
        "DELETE FROM pauses",
        "INSERT INTO outbox (mission_id, kind) SELECT id, 'comment' FROM missions",
        "SELECT judge_outcome(id, 'succeeded', 'me') FROM missions",
        "SELECT store_embedding('right-agent', gen_random_uuid(), 'm', '1', '[1]')",
        "SELECT register_agent('x', 'x', 's')",
        "SET ROLE gateway",
        "SET ROLE agents_owner",
        'SET ROLE "agent-right-agent"',
    ],
)
async def test_an_agent_cannot_write_or_become_what_is_not_its_own(two_agents, statement):
    async with two_agents.connect_agent(LEFT) as left:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await left.execute(statement)


async def test_an_agent_cannot_finish_anothers_mission(two_agents):
    async with two_agents.connect("gateway") as gateway:
        await add_mission(gateway, new_mission(50, RIGHT))
    async with two_agents.agent_pool(RIGHT) as right, two_agents.agent_pool(LEFT) as left:
        (mission,) = await claim_missions(right, RIGHT, "r1", most=1)
        assert not await finish_mission(left, mission, Finish("done", solution="stolen"))
        assert await claim_missions(left, RIGHT, "r2", most=5) == []
        assert await finish_mission(right, mission, Finish("done", solution="own"))


async def test_an_agent_sees_only_the_pauses_that_hold_it_back_and_not_why(two_agents):
    async with two_agents.connect("gateway") as gateway:
        for scope in ("all", "paid", f"agent:{LEFT}", f"agent:{RIGHT}"):
            await pause(gateway, scope, "a-person", "a reason")
    async with two_agents.connect_agent(LEFT) as left:
        seen = {row["scope"] for row in await left.fetch("SELECT scope FROM pauses")}
        assert seen == {"all", "paid", f"agent:{LEFT}"}
        for column in ("paused_by", "reason", "paused_at"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await left.fetch(f"SELECT {column} FROM pauses")


async def test_a_login_that_is_no_agent_sees_nothing(two_agents):
    async with two_agents.connect("agents_owner") as owner:
        await owner.execute("CREATE ROLE stray LOGIN PASSWORD 'of-the-tests'; GRANT agents TO stray")
    try:
        async with two_agents.connect("stray") as stray:
            for table in MEMORY_TABLES:
                assert await stray.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    finally:
        async with two_agents.connect("agents_owner") as owner:
            await owner.execute("DROP ROLE stray")


async def test_a_reverted_success_is_gone_from_recall_at_once(two_agents):
    async with two_agents.connect("gateway") as gateway:
        mission = await gateway.fetchval("SELECT id FROM missions WHERE issue_number = 1")
        await judge_outcome(gateway, mission, succeeded=False, by="pull request #2 merged", reverted=True)
    async with two_agents.connect_agent(LEFT) as left:
        assert await left.fetchval("SELECT count(*) FROM agent_memories") == 0
        assert await left.fetchval("SELECT count(*) FROM agent_memory_embeddings") == 0
    async with two_agents.pool("gateway") as pool:
        assert {work.agent for work in await past_works(pool, 10)} == {RIGHT}


async def test_the_statistics_follow_what_the_repository_says(two_agents):
    async with two_agents.connect_agent(LEFT) as left:
        row = await left.fetchrow("SELECT * FROM agent_performance")
    assert (row["total_missions"], row["successful_missions"], row["failed_missions"]) == (2, 1, 1)
    assert row["success_rate"] == 0.5


async def test_an_outcome_waits_for_proof_before_it_is_a_success(database):
    await database.register(LEFT)
    async with database.connect("gateway") as gateway, database.agent_pool(LEFT) as pool:
        await add_mission(gateway, new_mission(1, LEFT))
        (mission,) = await claim_missions(pool, LEFT, "r1", most=1)
        await finish_mission(
            pool, mission, Finish("done", solution="s", effects=[Effect("comment", {"body": "b"})])
        )
        assert await pool.fetchval("SELECT count(*) FROM agent_memories") == 0
        assert await gateway.fetchval("SELECT state FROM agent_memories") == "pending"
        await judge_outcome(
            gateway, mission.id, succeeded=True, by="person: closed", solution="what really helped"
        )
        assert await pool.fetchval("SELECT solution_approach FROM agent_memories") == "what really helped"
