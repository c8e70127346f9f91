"""66 agents with 10 runners each share the connections of a small RDS: db.t4g.medium has about 400."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from database.connect import Connection, Pool, open_pool
from database.missions import NewMission, add_mission
from database.registry import Registration, register_agents, set_passwords
from runner.agents import Agent
from runner.execute import Result, Task
from runner.health import Health
from runner.stream import WakeUps
from runner.worker import Worker
from tests.servers.conftest import PASSWORD, Database

AGENTS, REPLICAS = 66, 10
RUNNERS = AGENTS * REPLICAS
# LEAST({DBInstanceClassMemory/9531392}, 5000), of which some are kept for the superuser and RDS itself.
MOST_CONNECTIONS = 400
POLL_SECONDS = 30.0  # the default
IDLE_AT_MOST = 80  # 660 runners / 30 s, each connection open for a second and a bit: about 25 were seen


class Answer:
    """An executor that answers at once."""

    paid = False

    async def execute(self, task: Task) -> Result:
        return Result(success=True, answer="done", solution="done")


class Bell(WakeUps):
    """Wakes every runner at one moment, as a burst of issues does; otherwise there is no Redis."""

    def __init__(self) -> None:
        super().__init__(None, "agent", "runner")
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)


@dataclass(slots=True)
class Fleet:
    """Runners as they are in a deployment, but in one process."""

    bell: Bell
    watcher: Connection
    workers: list[Worker] = field(default_factory=list)
    most: int = 0

    async def connections(self) -> int:
        count: int = await self.watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runner'"
        )
        self.most = max(self.most, count)
        return count

    async def ring_until(self, sql: str) -> None:
        """Wake all runners, and wait until the query says true. Who was not waiting just then looks on its own."""
        self.bell.ring()
        async with asyncio.timeout(400):
            while not await self.watcher.fetchval(sql):
                await self.connections()
                await asyncio.sleep(0.1)


@asynccontextmanager
async def running_fleet(database: Database) -> AsyncIterator[Fleet]:
    names = [f"crowd-{number:02}" for number in range(AGENTS)]
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(database.connect("agents_owner"))
        known = [Registration(name, name, name, "0") for name in names]
        await register_agents(owner, known)
        await set_passwords(owner, {each.role: PASSWORD for each in known})
        watcher = await stack.enter_async_context(database.connect("postgres"))
        fleet = Fleet(Bell(), watcher)
        for name in names:
            for replica in range(REPLICAS):
                pool = open_pool(database.agent_url(name), most=2, application="runner")
                fleet.workers.append(worker(name, replica, await stack.enter_async_context(pool), fleet.bell))
        running = [asyncio.create_task(each.run()) for each in fleet.workers]
        try:
            yield fleet
        finally:
            for each in fleet.workers:
                each.stop()
            await asyncio.gather(*running)


def worker(name: str, replica: int, pool: Pool, bell: Bell) -> Worker:
    health = Health()
    health.missing("database", "not reached yet")
    agent = Agent(name, name, (), name, "", (), "", Path(f"{name}.md"), "0" * 64)
    return Worker(
        agent=agent,
        pool=pool,
        wake_ups=bell,
        executor=Answer(),
        health=health,
        runner_id=f"{name}-{replica}",
        concurrency=2,
        lease_seconds=600,  # a busy machine works long; no mission may pass to another for that
        poll_seconds=POLL_SECONDS,
        drain_seconds=5,
    )


@pytest.mark.timeout(600)
async def test_all_runners_at_once_share_the_connections_of_a_small_database(database):
    async with running_fleet(database) as fleet:
        assert int(await fleet.watcher.fetchval("SHOW max_connections")) <= MOST_CONNECTIONS
        # All start at one moment, as after an outage: who finds no connection free comes again a little later.
        async with asyncio.timeout(300):
            while any("database" in each.health.away for each in fleet.workers):
                await fleet.connections()
                await asyncio.sleep(0.05)
        assert fleet.most > MOST_CONNECTIONS / 2, "they did press"
        # Idle runners hold none; each looks once in half a minute, at a moment of its own.
        async with asyncio.timeout(100):
            while await fleet.connections() > IDLE_AT_MOST:
                await asyncio.sleep(0.1)
        async with database.connect("gateway") as gateway:
            for number in range(RUNNERS):
                await add_mission(gateway, queued(number))
        await fleet.ring_until("SELECT count(*) = 660 FROM missions WHERE state = 'done'")
        assert await fleet.watcher.fetchval("SELECT count(*) FROM missions WHERE attempts > 1") == 0
        async with asyncio.timeout(100):
            while await fleet.connections() > IDLE_AT_MOST:
                await asyncio.sleep(0.1)


def queued(number: int) -> NewMission:
    agent = f"crowd-{number % AGENTS:02}"
    return NewMission(
        "o/r", number, "opened", f"case {number}", "", [], "a", "US", "queued", agent=agent, score=9.0
    )
