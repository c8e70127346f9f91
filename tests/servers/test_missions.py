"""Claims under a lease and a fence, pauses, cancels and retries, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from database import control
from database.missions import (
    MAX_ATTEMPTS,
    Effect,
    Finish,
    add_mission,
    claim_missions,
    extend_leases,
    finish_mission,
    release_mission,
)
from database.outbox import repeat_wakes, take_effects, take_wakes
from tests.servers.past_missions import recalled_entry
from tests.servers.test_isolation import new_mission

AGENT = "some-agent"


@pytest.fixture
async def queue(database):
    """A database with one agent, and pools of the gateway and of two runners."""
    await database.register(AGENT)
    async with (
        database.pool("gateway") as gateway,
        database.agent_pool(AGENT) as one,
        database.agent_pool(AGENT) as two,
    ):
        yield gateway, one, two


async def add(gateway, number: int = 1, **more) -> UUID:
    mission = await add_again(gateway, number, **more)
    assert mission is not None
    return mission


async def add_again(gateway, number: int = 1, **more) -> UUID | None:
    async with gateway.acquire() as connection:
        return await add_mission(connection, new_mission(number, AGENT, **more))


async def state_of(gateway, mission: UUID) -> object:
    return await gateway.fetchval("SELECT state FROM missions WHERE id = $1", mission)


async def expire(gateway) -> None:
    await gateway.execute("UPDATE missions SET lease_until = now() - interval '1 s' WHERE state = 'running'")


async def test_an_event_makes_one_mission_however_often_it_comes(queue):
    gateway, *_ = queue
    await add(gateway)
    assert await add_again(gateway) is None
    assert await gateway.fetchval("SELECT count(*) FROM missions") == 1
    assert await gateway.fetchval("SELECT count(*) FROM outbox") == 1


async def test_an_issue_has_one_live_mission_whatever_the_event(queue):
    gateway, *_ = queue
    await add(gateway)
    assert await add_again(gateway, event="labeled") is None


async def test_runners_that_claim_at_once_share_the_missions_without_overlap(queue):
    gateway, one, two = queue
    for number in range(1, 41):
        await add(gateway, number)
    claims = await asyncio.gather(
        *(claim_missions(pool, AGENT, "r", most=10) for pool in (one, two, one, two))
    )
    numbers = [mission.issue_number for claim in claims for mission in claim]
    assert sorted(numbers) == list(range(1, 41))


async def test_a_claim_takes_no_more_than_it_asked_for(queue):
    gateway, one, two = queue
    for number in range(1, 201):
        await add(gateway, number)
    await gateway.execute("ANALYZE missions")

    async def claim_all(pool) -> int:
        taken = 0
        while claim := await claim_missions(pool, AGENT, "r", most=3):
            assert len(claim) <= 3
            taken += len(claim)
        return taken

    assert sum(await asyncio.gather(*(claim_all(pool) for pool in (one, one, two, two)))) == 200


async def test_a_mission_under_a_lease_is_not_claimed_again(queue):
    gateway, one, two = queue
    await add(gateway)
    assert len(await claim_missions(one, AGENT, "r1", most=5)) == 1
    assert await claim_missions(two, AGENT, "r2", most=5) == []


async def test_after_its_lease_a_mission_passes_on_and_the_zombie_writes_nothing(queue):
    gateway, one, two = queue
    await add(gateway)
    (zombie,) = await claim_missions(one, AGENT, "r1", most=1)
    await expire(gateway)
    (heir,) = await claim_missions(two, AGENT, "r2", most=1)
    assert heir.fence == zombie.fence + 1
    comment = Effect("comment", {"body": "mine"})
    assert not await finish_mission(one, zombie, Finish("done", solution="late", effects=[comment]))
    assert await extend_leases(one, AGENT, [zombie]) == {}
    assert not await release_mission(one, zombie)
    assert await finish_mission(two, heir, Finish("done", solution="mine", effects=[comment]))
    assert await gateway.fetch("SELECT solution_approach FROM agent_memories") == [("mine",)]
    assert await gateway.fetchval("SELECT count(*) FROM outbox WHERE kind = 'comment'") == 1


@pytest.mark.parametrize(
    "recalled",
    [
        {},
        [1],
        [recalled_entry(similarity="0.8")],
        [recalled_entry(similarity=1.2)],
        [recalled_entry(memory_id="x")],
        [recalled_entry(issue_number=None)],
        [recalled_entry(), {"memory_id": recalled_entry()["memory_id"]}],
        [{"memory_id": recalled_entry()["memory_id"], "similarity": 0.8, "why": "y"}],
    ],
)
async def test_half_of_what_was_recalled_is_refused(queue, recalled: Any):
    gateway, *_ = queue
    mission = await add(gateway)
    with pytest.raises(asyncpg.CheckViolationError, match="missions_recalled_whole"):
        await gateway.execute(
            "UPDATE missions SET recalled = $2 WHERE id = $1", mission, json.dumps(recalled)
        )


async def test_a_mission_that_works_without_memory_recalled_nothing(queue):
    gateway, one, _ = queue
    await add(gateway, arm="control")
    (mission,) = await claim_missions(one, AGENT, "r1", most=1)
    with pytest.raises(asyncpg.CheckViolationError, match="missions_control_recalls_nothing"):
        await finish_mission(one, mission, Finish("done", recalled=[recalled_entry()]))
    assert await finish_mission(one, mission, Finish("done"))


async def test_a_finished_mission_cannot_be_finished_twice(queue):
    gateway, one, _ = queue
    await add(gateway)
    (mission,) = await claim_missions(one, AGENT, "r1", most=1)
    assert await finish_mission(one, mission, Finish("done"))
    assert not await finish_mission(one, mission, Finish("done"))
    assert await gateway.fetchval("SELECT total_missions FROM agent_performance") == 1


async def test_a_given_back_mission_is_free_at_once_and_did_not_cost_an_attempt(queue):
    gateway, one, two = queue
    await add(gateway)
    (mission,) = await claim_missions(one, AGENT, "r1", most=1)
    assert await release_mission(one, mission, uncounted=True)
    (again,) = await claim_missions(two, AGENT, "r2", most=1)
    assert again.attempts == 1


async def test_a_mission_that_is_to_wait_is_not_claimed_before_its_time(queue):
    gateway, one, _ = queue
    await add(gateway)
    (mission,) = await claim_missions(one, AGENT, "r1", most=1)
    await release_mission(one, mission, delay_seconds=3600)
    assert await claim_missions(one, AGENT, "r1", most=1) == []


async def test_a_mission_that_kills_its_runners_fails_with_the_reason_and_tells_the_issue(queue):
    gateway, one, _ = queue
    mission_id = await add(gateway)
    for _ in range(MAX_ATTEMPTS):
        assert len(await claim_missions(one, AGENT, "r1", most=1)) == 1
        await expire(gateway)
    assert await claim_missions(one, AGENT, "r1", most=1) == []
    async with gateway.acquire() as connection:
        assert await control.abandon_missions(connection) == 1
        assert await control.abandon_missions(connection) == 0
    assert await state_of(gateway, mission_id) == "failed"
    assert await gateway.fetchval("SELECT state FROM agent_memories") == "failed"
    async with gateway.acquire() as connection, connection.transaction():
        (effect,) = await take_effects(connection, 5)
    assert "5 runners in a row" in effect.payload["body"]


@pytest.mark.parametrize(
    ("scope", "claims"), [("all", 0), (f"agent:{AGENT}", 0), ("paid", 1), ("agent:other", 2)]
)
async def test_a_pause_holds_back_what_is_in_its_scope_and_nothing_else(queue, scope, claims):
    gateway, one, _ = queue
    async with gateway.acquire() as connection:
        await control.pause(connection, scope, "me")
    await add(gateway, 1)
    await add(gateway, 2, paid=True)
    assert len(await claim_missions(one, AGENT, "r1", most=5)) == claims
    async with gateway.acquire() as connection:
        assert await control.resume(connection, scope)
        assert not await control.resume(connection, scope)
    assert len(await claim_missions(one, AGENT, "r1", most=5)) == 2 - claims


async def test_a_cancelled_mission_is_never_claimed_and_can_be_retried_once(queue):
    gateway, one, _ = queue
    mission = await add(gateway)
    async with gateway.acquire() as connection:
        assert await control.cancel_mission(connection, mission, "me") == "cancelled"
        assert await claim_missions(one, AGENT, "r1", most=1) == []
        assert await control.retry_mission(connection, mission, "me") is not None
        assert await control.retry_mission(connection, mission, "me") is None
    assert [m.event for m in await claim_missions(one, AGENT, "r1", most=5)] == ["retry:1"]


async def test_a_running_missions_heartbeat_tells_who_wants_it_cancelled(queue):
    gateway, one, _ = queue
    mission_id = await add(gateway)
    (mission,) = await claim_missions(one, AGENT, "r1", most=1)
    async with gateway.acquire() as connection:
        assert await control.cancel_mission(connection, mission_id, "me") == "running"
    assert await extend_leases(one, AGENT, [mission]) == {mission_id: "me"}


async def test_lost_wake_ups_are_repeated_for_missions_that_nobody_took(queue):
    gateway, *_ = queue
    await add(gateway)
    async with gateway.acquire() as connection:
        assert await repeat_wakes(connection, 0, MAX_ATTEMPTS) == 0, "the first wake-up still waits"
        await connection.execute("DELETE FROM outbox")
        assert await repeat_wakes(connection, 3600, MAX_ATTEMPTS) == 0, "it is too early to repeat"
        assert await repeat_wakes(connection, 0, MAX_ATTEMPTS) == 1
        async with connection.transaction():
            assert [wake.agent for wake in await take_wakes(connection, 5)] == [AGENT]
