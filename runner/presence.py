"""Which runners live: each says so in Redis, and fades from there when it dies."""

from __future__ import annotations

import json
from collections.abc import Mapping

import redis.asyncio

PRESENCE_SECONDS = 5.0
_LIFETIME_SECONDS = 15
_PREFIX = "runner:"
_KEYS_AT_ONCE = 5_000


async def tell_presence(
    client: redis.asyncio.Redis, agent: str, runner_id: str, *, port: int, ready: bool
) -> None:
    """Say that a runner lives; to be said again within `_LIFETIME_SECONDS`. Raises one of `stream.AWAY`."""
    value = json.dumps({"port": port, "ready": ready})
    await client.set(f"{_PREFIX}{agent}:{runner_id}", value, ex=_LIFETIME_SECONDS)


async def living_runners(client: redis.asyncio.Redis) -> Mapping[str, bool]:
    """Agent → whether a runner of it is ready; an agent without a living runner is not there.

    Raises one of `stream.AWAY`.
    """
    keys = [key async for key in client.scan_iter(f"{_PREFIX}*", count=_KEYS_AT_ONCE)]
    values = await client.mget(keys) if keys else []
    living: dict[str, bool] = {}
    for key, value in zip(keys, values, strict=True):
        if value is not None:  # it faded in between
            agent = key.removeprefix(_PREFIX).partition(":")[0]
            living[agent] = living.get(agent, False) or bool(json.loads(value)["ready"])
    return living
