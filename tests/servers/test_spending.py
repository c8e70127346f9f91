"""Caps on model dollars hold whatever runs at once, and whatever dies in between."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from database.missions import add_mission, claim_missions, release_mission
from database.spending import MissionWallet, set_cap
from errors import BudgetExceeded, StaleFence
from tests.servers.test_isolation import new_mission

AGENTS = ("one-agent", "two-agent", "three-agent")


@pytest.fixture
async def wallets(database):
    """A wallet for each of three agents' missions, with caps of $2 a mission and $3 a day."""
    await database.register(*AGENTS)
    async with (
        database.pool("gateway") as gateway,
        database.agent_pool(AGENTS[0], 8) as one,
        database.agent_pool(AGENTS[1], 8) as two,
        database.agent_pool(AGENTS[2], 8) as three,
    ):
        made = []
        async with gateway.acquire() as connection:
            for scope, usd in (("mission", 2), ("day", 3), ("month", 100)):
                await set_cap(connection, scope, Decimal(usd))
            for number, (agent, pool) in enumerate(zip(AGENTS, (one, two, three), strict=True), start=1):
                await add_mission(connection, new_mission(number, agent))
                (mission,) = await claim_missions(pool, agent, "r", most=1)
                made.append((MissionWallet(pool, mission), pool, mission))
        yield gateway, made


async def total(gateway, scope: str) -> object:
    return await gateway.fetchval("SELECT max(usd) FROM spending_totals WHERE scope = $1", scope)


async def reserved(wallet: MissionWallet, usd: str, times: int) -> list[object]:
    return await asyncio.gather(*(wallet.reserve(Decimal(usd)) for _ in range(times)), return_exceptions=True)


async def test_runners_that_reserve_at_once_never_pass_the_days_cap(wallets):
    gateway, made = wallets
    answers = await asyncio.gather(*(reserved(wallet, "0.25", 20) for wallet, *_ in made))
    granted = [answer for each in answers for answer in each if not isinstance(answer, BaseException)]
    refused = [answer for each in answers for answer in each if isinstance(answer, BaseException)]
    assert len(granted) == 12
    assert all(isinstance(answer, BudgetExceeded) for answer in refused)
    assert await total(gateway, "day") == Decimal("3.00")


async def test_a_missions_cap_is_named_and_holds_while_the_day_has_room(wallets):
    gateway, made = wallets
    wallet = made[0][0]
    await wallet.reserve(Decimal("1.99"))
    with pytest.raises(BudgetExceeded, match="pass the mission's cap") as refused:
        await wallet.reserve(Decimal("0.02"))
    assert refused.value.scope == "mission"
    assert await total(gateway, "day") == Decimal("1.99"), "a refusal counts nothing"


async def test_settling_frees_what_was_not_spent_and_counts_once(wallets):
    gateway, made = wallets
    wallet = made[0][0]
    reservation = await wallet.reserve(Decimal("1.50"))
    await wallet.settle(reservation, Decimal("0.10"))
    await wallet.settle(reservation, Decimal("0.00"))
    assert await total(gateway, "day") == Decimal("0.10")
    await wallet.reserve(Decimal("1.90"))


async def test_a_call_that_cost_more_than_reserved_counts_in_full(wallets):
    gateway, made = wallets
    wallet = made[0][0]
    await wallet.settle(await wallet.reserve(Decimal("0.10")), Decimal("0.30"))
    assert await total(gateway, "month") == Decimal("0.30")


async def test_a_crash_in_a_call_leaves_its_reservation_counted(wallets):
    gateway, made = wallets
    await made[0][0].reserve(Decimal("2.00"))  # and never settled
    with pytest.raises(BudgetExceeded, match="day"):
        await made[1][0].reserve(Decimal("1.01"))
    assert await total(gateway, "day") == Decimal("2.00")


async def test_a_runner_that_lost_its_mission_can_spend_nothing_for_it(wallets):
    gateway, made = wallets
    wallet, pool, mission = made[0]
    await release_mission(pool, mission)
    with pytest.raises(StaleFence):
        await wallet.reserve(Decimal("0.01"))
    assert await gateway.fetchval("SELECT count(*) FROM spending") == 0


async def test_nothing_is_spent_until_an_operator_sets_the_caps(database):
    await database.register(AGENTS[0])
    async with database.pool("gateway") as gateway, database.agent_pool(AGENTS[0]) as pool:
        async with gateway.acquire() as connection:
            await add_mission(connection, new_mission(1, AGENTS[0]))
        (mission,) = await claim_missions(pool, AGENTS[0], "r", most=1)
        with pytest.raises(BudgetExceeded):
            await MissionWallet(pool, mission).reserve(Decimal("0.01"))


@pytest.mark.parametrize("usd", ["-1", "NaN"])
async def test_an_amount_that_is_none_is_refused(wallets, usd):
    gateway, made = wallets
    with pytest.raises(Exception, match="cannot reserve"):
        await made[0][0].reserve(Decimal(usd))
    assert await gateway.fetchval("SELECT count(*) FROM spending") == 0
