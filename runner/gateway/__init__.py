"""The gateway: takes issues in, matches and routes them, and is the one that speaks to GitHub."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial

import asyncpg
import redis.asyncio
from aiohttp import web
from prometheus_client import Counter

from database.connect import AWAY, Connection, Pool, open_pool
from database.control import abandon_missions, approve_mission, refuse_approval, waiting_missions
from database.current_embedder import CurrentEmbedder
from database.embeddings import Embedder, EmbeddingSettings
from database.embeddings.cache import open_cached_embedder
from database.inbox import Delivery, mark_processed, take_deliveries
from database.memory import (
    Embedded,
    past_works,
    past_works_mark,
    store_embedding,
    unembedded,
    vector_text,
)
from database.missions import MAX_ATTEMPTS
from database.outbox import repeat_wakes
from database.registry import agent_names
from database.retention import Retention, load_retention, prune
from database.spending import set_cap
from errors import AgentsCloudError, EmbeddingMismatch, RateLimited, SettingsError, Unavailable
from runner.agents import load_agents
from runner.cancelled import raise_if_cancelled
from runner.gateway.intake import Intake, text_to_embed
from runner.gateway.matchers import Matchers
from runner.gateway.reconcile import reconcile
from runner.gateway.redeliver import Redelivery
from runner.gateway.relay import relay_effects, relay_wakes
from runner.gateway.webhook import webhook
from runner.geography import Zone, load_geography, local_geography
from runner.github import GitHub
from runner.github.access import open_github
from runner.health import Health, serve
from runner.match.history import Work, load_history
from runner.match.scope import refuse_swallowing
from runner.page.briefs import web_address
from runner.page.page import Page
from runner.page.status import Status
from runner.settings import GatewaySettings
from runner.stream import AWAY as REDIS_AWAY
from runner.stream import open_redis, trim

log = logging.getLogger(__name__)

_DELIVERIES_AT_ONCE = 50
_IDLE_SECONDS = 0.25
_AWAY_SECONDS = 1.0
_SWEEP_SECONDS = 5.0
_REPEAT_WAKE_SECONDS = 30.0
_EMBED_SECONDS = (
    30.0  # looking costs PostgreSQL a plan over all partitions; what may prove an outcome wakes it
)
_LEARN_SECONDS = 60.0
_LEARN_REST = (
    30.0  # times what learning took: it computes beside the intake, and takes 3 % of the time at most
)
_PRUNE_SECONDS = 3600.0
_HISTORY_WORKS = 5_000
_CONNECTIONS = 10


@dataclass(slots=True)
class Gateway:
    """The loops of one gateway process. Each goes round on its own and outlives whatever is away."""

    settings: GatewaySettings
    pool: Pool
    intake: Intake
    health: Health
    redis: redis.asyncio.Redis | None
    github: GitHub
    embedder: CurrentEmbedder | None
    history: Sequence[Work]
    retention: Retention = field(default_factory=lambda: load_retention({}))
    new_delivery: asyncio.Event = field(default_factory=asyncio.Event)
    new_wake: asyncio.Event = field(default_factory=asyncio.Event)
    new_lesson: asyncio.Event = field(default_factory=asyncio.Event)
    _redelivery: Redelivery = field(default_factory=Redelivery)
    _learnt: object = None
    _learn_after: float = 0.0
    _deliveries: Counter = field(init=False)

    def __post_init__(self) -> None:
        self._deliveries = Counter(
            "agents_cloud_deliveries_total", "Deliveries worked.", ["event"], registry=self.health.registry
        )

    async def set_caps(self) -> None:
        """Let the settings' caps on spending hold, once the database is there."""
        while self.settings.caps:
            try:
                async with self.pool.acquire() as connection:
                    for scope, usd in self.settings.caps.items():
                        await set_cap(connection, scope, usd)
                return
            except AWAY as away:
                self.health.missing("database", f"caps: {type(away).__name__}")
                await asyncio.sleep(_AWAY_SECONDS)

    async def run(self) -> None:
        """Run every loop until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop("intake", self._take, _IDLE_SECONDS, self.new_delivery))
            group.create_task(self._loop("wakes", self._wake, _IDLE_SECONDS, self.new_wake))
            group.create_task(self._loop("retention", self._prune, _PRUNE_SECONDS))
            group.create_task(self._loop("approvals", self._approve, _AWAY_SECONDS))
            group.create_task(self._loop("sweep", self._sweep, _SWEEP_SECONDS))
            group.create_task(self._loop("embeddings", self._embed, _EMBED_SECONDS, self.new_lesson))
            group.create_task(self._loop("history", self._learn, _LEARN_SECONDS))
            group.create_task(self._loop("reconcile", self._reconcile, self.settings.reconcile_seconds))
            group.create_task(self._loop("effects", self._effects, _IDLE_SECONDS))

    async def _loop(
        self, name: str, work: Callable[[], Awaitable[object]], idle: float, wake: asyncio.Event | None = None
    ) -> None:
        """Repeat `work`: at once while it finds something to do, else when `wake` is set or after `idle` seconds."""
        while True:
            if idle < self.health.stalled_seconds:
                self.health.beat(name)
            pause = idle
            try:
                if await work():
                    pause = 0.0
                self.health.found(name)
            except AWAY as away:
                self.health.missing("database", f"{name}: {type(away).__name__}")
                pause = max(idle, _AWAY_SECONDS)
            except Unavailable as away:
                self.health.missing(name, str(away), required=False)
                pause = max(idle, _AWAY_SECONDS)
            except asyncpg.PostgresError:
                log.exception("%s", name)
                pause = max(idle, _AWAY_SECONDS)
            else:
                self.health.found("database")
            raise_if_cancelled()
            if wake is None or pause == 0.0:
                await asyncio.sleep(pause)
                continue
            # No `wait_for`: see raise_if_cancelled.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await wake.wait()
            wake.clear()

    async def _take(self) -> int:
        try:
            return await self._take_batch(apart=False)
        except AWAY:
            raise
        except Exception:
            # One bad delivery must not hold back the rest: once more, each in a savepoint of its own.
            return await self._take_batch(apart=True)

    async def _take_batch(self, *, apart: bool) -> int:
        async with self.pool.acquire() as connection, connection.transaction():
            deliveries = await take_deliveries(connection, _DELIVERIES_AT_ONCE)
            embeddings = await self._embeddings(connection, deliveries)
            take = self._take_apart if apart else self.intake.take
            results = {
                each.delivery_id: await take(connection, each, embeddings.get(each.delivery_id))
                for each in deliveries
            }
            await mark_processed(connection, results)
        for each in deliveries:
            self._deliveries.labels(each.event).inc()
        if deliveries:
            self.new_wake.set()
        if any(each.payload.get("action") != "opened" for each in deliveries):
            self.new_lesson.set()
        return len(deliveries)

    async def _take_apart(
        self, connection: Connection, delivery: Delivery, embedding: Embedded | None
    ) -> str:
        try:
            async with connection.transaction():
                return await self.intake.take(connection, delivery, embedding)
        except AWAY:
            raise
        except Exception as broken:
            log.exception("delivery %s", delivery.delivery_id)
            return f"error: {type(broken).__name__}; the gateway's log has the details"

    async def _embeddings(
        self, connection: Connection, deliveries: Sequence[Delivery]
    ) -> dict[str, Embedded]:
        texts = {d.delivery_id: text for d in deliveries if (text := text_to_embed(d)) is not None}
        if self.embedder is None or not texts:
            return {}
        try:
            space, vectors = await self.embedder.embed(connection, list(texts.values()))
        except AgentsCloudError as away:
            # Memory is then asked by words alone; no issue waits for a model.
            self.health.missing("embeddings", str(away), required=False)
            return {}
        return {
            delivery_id: Embedded(vector_text(vector), space.model, space.version)
            for delivery_id, vector in zip(texts, vectors, strict=True)
        }

    async def _wake(self) -> int:
        return await relay_wakes(self.pool, self.redis) if self.redis is not None else 0

    async def _effects(self) -> int:
        return await relay_effects(self.pool, self.github)

    async def _sweep(self) -> None:
        async with self.pool.acquire() as connection:
            if await abandon_missions(connection):
                log.warning("missions were abandoned after %s attempts", MAX_ATTEMPTS)
            if await repeat_wakes(connection, _REPEAT_WAKE_SECONDS, MAX_ATTEMPTS):
                self.new_wake.set()

    async def _prune(self) -> int:
        """Remove what is older than its retention; how many rows."""
        async with self.pool.acquire() as connection:
            removed = await prune(connection, self.retention) or {}
            agents = await agent_names(connection)
        if removed:
            log.info("removed after their retention: %s", removed)
        days = self.retention.days["streams"]
        if self.redis is not None and days is not None:
            try:
                await trim(self.redis, agents, days)
            except REDIS_AWAY as away:
                raise Unavailable(
                    f"Redis is away ({type(away).__name__}); its streams are trimmed later"
                ) from away
        return sum(removed.values())

    async def _approve(self) -> None:
        for waiting in await waiting_missions(self.pool, 50):
            allowed = None
            for login in waiting.logins:
                try:
                    if await self.github.may_write(waiting.repository, login):
                        allowed = login
                        break
                except RateLimited:
                    raise
                except AgentsCloudError as broken:
                    raise Unavailable(f"who may spend is unknown: {broken}") from broken
            async with self.pool.acquire() as connection, connection.transaction():
                if allowed is not None:
                    await approve_mission(connection, waiting.id, allowed)
                    self.new_wake.set()
                else:
                    await refuse_approval(connection, waiting)

    async def _embed(self) -> int:
        if self.embedder is None:
            return 0
        try:
            space = await self.embedder.space(self.pool)
            waiting = await unembedded(self.pool, space, 64)
            if waiting:
                space, vectors = await self.embedder.embed(self.pool, [memory.text for memory in waiting])
                async with self.pool.acquire() as connection:
                    for memory, vector in zip(waiting, vectors, strict=True):
                        await store_embedding(
                            connection, memory, model=space.model, version=space.version, embedding=vector
                        )
        except (SettingsError, EmbeddingMismatch) as refused:  # the latter while all is being re-embedded
            raise Unavailable(str(refused)) from refused
        return len(waiting)

    async def _learn(self) -> None:
        """Let the matcher know what agents really did, when that has changed and it has rested from the last time."""
        mark = await past_works_mark(self.pool)
        if mark == self._learnt or time.monotonic() < self._learn_after:
            return
        own = [
            Work(work.number, work.agent, work.title, work.body, work.labels, work.files, work.proven_at)
            for work in await past_works(self.pool, _HISTORY_WORKS)
        ]
        history = sorted((*self.history, *own), key=lambda work: (work.merged_at, work.number))
        began = time.monotonic()
        await asyncio.to_thread(self.intake.matchers.learn, history)
        self._learnt = mark
        self._learn_after = time.monotonic() + _LEARN_REST * (time.monotonic() - began)

    async def _reconcile(self) -> None:
        intake = self.intake
        found = await reconcile(self.pool, self.github, intake.geography, intake.zone, self._redelivery)
        if found:
            log.warning("%s events came without their webhook", found)
            self.new_delivery.set()


async def run_gateway(
    settings: GatewaySettings,
    stop: asyncio.Event,
    started: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until `stop`. `started` gets the port once requests are answered, which is before it is ready."""
    serving = asyncio.create_task(_serve(settings, started))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        for task in (serving, stopping):
            task.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)


async def _serve(settings: GatewaySettings, started: Callable[[int], None]) -> None:
    """Serve until cancelled, which may come at any moment of the start as well."""
    agents = load_agents(settings.agents_folder)
    refuse_swallowing(agents)
    geography = load_geography(settings.geography, agents) if settings.geography else local_geography(agents)
    history = load_history(settings.history) if settings.history else ()
    health = Health()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            open_pool(settings.database_url, most=_CONNECTIONS, application="gateway")
        )
        client = (
            await stack.enter_async_context(open_redis(settings.redis_url)) if settings.redis_url else None
        )
        github = await stack.enter_async_context(open_github(settings.github))
        intake = Intake(
            geography=geography,
            zone=settings.zone,
            matchers=Matchers(agents, geography, history),
            paid=settings.executor != "recall",
            control_percent=settings.control_percent,
        )
        gateway = Gateway(
            settings, pool, intake, health, client, github, None, history, load_retention(os.environ)
        )
        application = web.Application()
        application.add_routes(health.routes())
        status = Status(
            pool,
            client,
            health,
            geography,
            settings.zone,
            settings.executor,
            web_address(settings.github.api_url),
        )
        Page(status, agents, settings.page_hosts).add_to(application)
        handler = webhook(pool, settings.webhook_secret, geography, settings.zone, gateway.new_delivery.set)
        application.router.add_post("/webhook", handler)
        port = await stack.enter_async_context(serve(application, settings.host, settings.port))
        started(port)
        if settings.embedding is not None:
            # Texts are embedded when an issue comes in, and again when its outcome is proven: this saves the second.
            cache = None
            if settings.redis_url:
                cache = await stack.enter_async_context(open_redis(settings.redis_url, decoded=False))
            gateway.embedder = CurrentEmbedder(
                await open_cached_embedder(settings.embedding, cache, gateway.retention),
                partial(_reopen, settings.zone, cache, gateway.retention),
            )
            stack.push_async_callback(gateway.embedder.close)
        await gateway.set_caps()
        health.found("start")
        await gateway.run()


async def _reopen(
    zone: Zone, cache: redis.asyncio.Redis | None, retention: Retention, model: str
) -> Embedder:
    """The embedder of the model that the database was switched to."""
    settings = EmbeddingSettings.from_environment({**os.environ, "EMBEDDING_MODEL": model}, zone)
    return await open_cached_embedder(settings, cache, retention)
