"""`/health`, `/ready` and `/metrics` of a process, served by its own event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from errors import SettingsError

STALLED_SECONDS = 120.0


class Health:
    """What a process knows of itself: when each loop last went round, and which dependencies are away."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, stalled_seconds: float = STALLED_SECONDS
    ) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock
        self.stalled_seconds = stalled_seconds
        self._loops: dict[str, float] = {}
        self._required: dict[str, str] = {"start": "not finished"}
        self._degraded: dict[str, str] = {}

    def beat(self, loop: str) -> None:
        """A loop went round. One that stops beating is stalled, though the process lives."""
        self._loops[loop] = self._clock()

    def ended(self, loop: str) -> None:
        """A loop ended on purpose."""
        self._loops.pop(loop, None)

    def missing(self, dependency: str, why: str, *, required: bool = True) -> None:
        """A dependency is away; without a required one this process is not ready."""
        (self._required if required else self._degraded)[dependency] = why

    def found(self, dependency: str) -> None:
        self._required.pop(dependency, None)
        self._degraded.pop(dependency, None)

    def stalled(self) -> Mapping[str, float]:
        """Each loop that has not gone round for too long, with the seconds since it did."""
        now = self._clock()
        ages = {loop: now - last for loop, last in self._loops.items()}
        return {loop: age for loop, age in ages.items() if age > self.stalled_seconds}

    @property
    def ready(self) -> bool:
        return not self._required

    @property
    def away(self) -> Mapping[str, str]:
        """Each dependency that is away, required or not, with the reason."""
        return {**self._required, **self._degraded}

    def routes(self) -> list[web.RouteDef]:
        """The three probes, to be added to any application."""
        return [
            web.get("/health", self._health),
            web.get("/ready", self._ready),
            web.get("/metrics", self._metrics),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        stalled = self.stalled()
        body = {"healthy": not stalled, "stalled": {loop: round(age, 1) for loop, age in stalled.items()}}
        return web.json_response(body, status=503 if stalled else 200)

    async def _ready(self, _: web.Request) -> web.Response:
        body = {"ready": self.ready, "missing": self.away}
        return web.json_response(body, status=200 if self.ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )


@asynccontextmanager
async def serve(application: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve until the context ends; gives the port, which matters where 0 was asked for.

    Raises SettingsError where the address cannot be had.
    """
    site_runner = web.AppRunner(application, access_log=None, shutdown_timeout=5)
    await site_runner.setup()
    try:
        site = web.TCPSite(site_runner, host, port)
        try:
            await site.start()
        except OSError as refused:
            raise SettingsError(
                f"{host}:{port} cannot be listened on ({refused.strerror})", "set PORT or HOST to a free one"
            ) from refused
        yield site_runner.addresses[0][1]
    finally:
        await site_runner.cleanup()
