"""What the stacks let gateway and runners do in Valkey is all that they need there, and little more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from database.embeddings.cache import CachedEmbedder, forget, key_of
from database.redis_connection import open_redis
from infra.cache import GATEWAY, RIGHTS, RUNNERS
from runner.local.embedded import EmbeddedRedis
from runner.presence import living_runners, tell_presence
from runner.stream import WakeUps, publish, trim
from tests.servers.test_embeddings_cache import Counting, ErasedMeanwhile

PASSWORD = "of-the-rights"


@pytest.fixture
async def urls(redis_server: EmbeddedRedis) -> AsyncIterator[dict[str, str]]:
    """The URL of each user of a stack, made with the rights that the program gives them."""
    async with Redis.from_url(redis_server.url) as administrator:
        for user, rights in RIGHTS.items():
            await administrator.execute_command(
                "ACL", "SETUSER", user, "reset", f">{PASSWORD}", *rights.split()
            )
        yield {user: f"redis://{user}:{PASSWORD}@127.0.0.1:{redis_server.port}/0" for user in RIGHTS}
        await administrator.execute_command("ACL", "DELUSER", *RIGHTS)
        await administrator.flushall()


async def test_a_runner_is_woken_by_the_gateway_and_says_that_it_lives(urls: dict[str, str]) -> None:
    async with open_redis(urls[GATEWAY]) as gateway, open_redis(urls[RUNNERS]) as runner:
        wake_ups = WakeUps(runner, "cloud-architect", "one")
        await wake_ups.wait(0.01)  # which makes the group
        await publish(gateway, [("cloud-architect", "a mission")])
        await wake_ups.wait(5)
        assert wake_ups.connected
        await trim(gateway, ["cloud-architect"], 1)
        await tell_presence(runner, "cloud-architect", "one", port=8080, ready=True)
        assert await living_runners(gateway) == {"cloud-architect": True}


async def test_the_gateway_keeps_embeddings_there_and_erases_them(urls: dict[str, str]) -> None:
    async with open_redis(urls[GATEWAY], decoded=False) as gateway:
        embedder = Counting()
        for _ in range(2):
            await CachedEmbedder(embedder, gateway, 30).embed(["a text"])
        assert embedder.asked == [["a text"]]
        assert await forget(gateway, ["a text"]) == 1
        racing = ErasedMeanwhile(gateway, "another text")
        await CachedEmbedder(racing, gateway, 30).embed(["another text"])
        assert await gateway.hkeys(key_of("another text")) == [b"erased"]


@pytest.mark.parametrize("user", [GATEWAY, RUNNERS])
@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET *",
        "ACL LIST",
        "SHUTDOWN NOSAVE",
        "GET another",
        "EVAL return 0",
        "MONITOR",
    ],
)
async def test_nobody_administers_the_server_or_reads_other_keys(
    urls: dict[str, str], user: str, command: str
) -> None:
    async with open_redis(urls[user]) as client:
        with pytest.raises(NoPermissionError):
            await client.execute_command(*command.split())


async def test_no_runner_reads_the_cache_of_embeddings(urls: dict[str, str]) -> None:
    async with open_redis(urls[RUNNERS]) as runner:
        with pytest.raises(NoPermissionError):
            await runner.hgetall("embedding:of-someone")
