"""Redis streams that wake runners. PostgreSQL is the truth: whatever Redis loses costs time, never a mission."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import redis.asyncio
from redis.exceptions import RedisError, ResponseError

from database.redis_connection import open_redis as open_redis

_GROUP = "runners"
_MAX_LENGTH = 1_000  # entries a stream; the mission table, not the stream, is the queue
_RECONNECT_SECONDS = 2.0
AWAY = (RedisError, OSError, TimeoutError)


def stream_of(agent: str) -> str:
    """The stream of one agent."""
    return f"missions:{agent}"


async def publish(client: redis.asyncio.Redis, wakes: Iterable[tuple[str, str]]) -> None:
    """Wake one runner for each (agent, mission id). Raises one of AWAY, and may have woken some then."""
    async with client.pipeline(transaction=False) as pipeline:
        for agent, mission in wakes:
            pipeline.xadd(stream_of(agent), {"mission": mission}, maxlen=_MAX_LENGTH, approximate=True)
        await pipeline.execute()


async def trim(client: redis.asyncio.Redis, agents: Iterable[str], days: int) -> None:
    """Drop wake-ups that are older than `days`: an agent that is never woken again keeps none. Raises one of AWAY."""
    oldest = int((time.time() - days * 86_400) * 1000)
    async with client.pipeline(transaction=False) as pipeline:
        for agent in agents:
            pipeline.xtrim(stream_of(agent), minid=oldest, approximate=False)
        await pipeline.execute()


class WakeUps:
    """What one runner listens to."""

    def __init__(self, client: redis.asyncio.Redis | None, agent: str, runner_id: str) -> None:
        self._client = client
        self._stream = stream_of(agent)
        self._consumer = runner_id
        self.connected = client is not None

    async def wait(self, seconds: float) -> None:
        """Return when a mission is there to be claimed, and after `seconds` in any case.

        Messages are not acknowledged: the claim in PostgreSQL is what counts, and a message that nobody
        acts on is repeated by the gateway. Where Redis is away, this only waits a little.
        """
        if self._client is None:
            await asyncio.sleep(seconds)
            return
        try:
            await self._client.xreadgroup(
                _GROUP,
                self._consumer,
                {self._stream: ">"},
                count=_MAX_LENGTH,
                block=max(1, int(seconds * 1000)),
                noack=True,
            )
            self.connected = True
        except ResponseError as broken:
            if not str(broken).startswith("NOGROUP"):
                raise
            await self._make_group()
        except AWAY:
            self.connected = False
            await asyncio.sleep(min(seconds, _RECONNECT_SECONDS))

    async def _make_group(self) -> None:
        """The stream is new, or Redis lost its data."""
        assert self._client is not None
        try:
            await self._client.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
        except ResponseError as broken:
            if not str(broken).startswith("BUSYGROUP"):
                raise
