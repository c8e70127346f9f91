"""One runner process: an agent's worker with its probes, from start to drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from signal import SIG_IGN, SIGINT, SIGTERM, getsignal

import redis.asyncio
from aiohttp import web

from database.connect import Pool, open_pool
from runner.agents import load_agent
from runner.cancelled import raise_if_cancelled
from runner.choose_executor import open_executor
from runner.health import Health, serve
from runner.presence import PRESENCE_SECONDS, tell_presence
from runner.settings import RunnerSettings
from runner.stream import AWAY, WakeUps, open_redis
from runner.worker import OnStep, Worker, no_hook

log = logging.getLogger(__name__)

_CONNECTIONS = 2


@asynccontextmanager
async def stop_on_signal() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM sets, and SIGINT unless this process was started to ignore it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (SIGTERM,) if getsignal(SIGINT) is SIG_IGN else (SIGTERM, SIGINT)
    for signal in signals:
        loop.add_signal_handler(signal, stop.set)
    try:
        yield stop
    finally:
        for signal in signals:
            loop.remove_signal_handler(signal)


async def run_agent(settings: RunnerSettings, stop: asyncio.Event, on_step: OnStep = no_hook) -> None:
    """Work missions until `stop`, then drain. Raises DefinitionError or SettingsError before anything starts."""
    agent = load_agent(settings.agents_folder, settings.agent)
    health = Health(stalled_seconds=settings.stalled_seconds)
    async with AsyncExitStack() as stack:
        application = web.Application()
        application.add_routes(health.routes())
        port = await stack.enter_async_context(serve(application, settings.host, settings.port))
        pool = await stack.enter_async_context(
            open_pool(settings.database_url, most=_CONNECTIONS, application=f"runner {agent.name}")
        )
        client = (
            await stack.enter_async_context(open_redis(settings.redis_url)) if settings.redis_url else None
        )
        executor = await stack.enter_async_context(open_executor(settings, pool))
        worker = Worker(
            agent=agent,
            pool=pool,
            wake_ups=WakeUps(client, agent.name, settings.runner_id),
            executor=executor,
            health=health,
            runner_id=settings.runner_id,
            concurrency=settings.concurrency,
            lease_seconds=settings.lease_seconds,
            poll_seconds=settings.poll_seconds,
            drain_seconds=settings.drain_seconds,
            on_step=on_step,
        )
        await _wait_for_database(pool, health, stop)
        health.found("start")
        if client is not None:
            presence = asyncio.create_task(_tell_presence(client, settings, health, port))
            stack.push_async_callback(_cancel, presence)
        stopper = asyncio.create_task(_stop_when(stop, worker))
        stack.push_async_callback(_cancel, stopper)
        log.info("agent %s is ready on port %s", agent.name, port)
        await worker.run()


async def _wait_for_database(pool: Pool, health: Health, stop: asyncio.Event) -> None:
    """A database that is away is waited for; the process lives, and says on /ready what is missing."""
    told = ""
    while not stop.is_set():
        health.beat("start")
        try:
            await pool.fetchval("SELECT 1")
        except Exception as away:
            # Whatever it is, only the database's operator can mend it; a crash loop would hide the reason.
            why = f"{type(away).__name__}: {away}"[:200]
            health.missing("database", why)
            if why != told:
                log.warning("waiting for PostgreSQL: %s", why)
                told = why
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
        else:
            health.found("database")
            break
    health.ended("start")


async def _tell_presence(
    client: redis.asyncio.Redis, settings: RunnerSettings, health: Health, port: int
) -> None:
    while True:
        with suppress(*AWAY):
            await tell_presence(client, settings.agent, settings.runner_id, port=port, ready=health.ready)
        raise_if_cancelled()
        await asyncio.sleep(PRESENCE_SECONDS)


async def _stop_when(stop: asyncio.Event, worker: Worker) -> None:
    await stop.wait()
    worker.stop()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
