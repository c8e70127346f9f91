"""The cache of embeddings in a real Redis: it saves work, is erasable, and its loss costs only time."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from database.embeddings.cache import CachedEmbedder
from errors import Unavailable
from runner.local.embedded import EmbeddedRedis


class Counting:
    """Embeds a text as its length and keeps what it was asked."""

    def __init__(self, model: str = "counting", dimension: int = 3, version: str = "1") -> None:
        self.model = model
        self.dimension = dimension
        self.version = version
        self.asked: list[list[str]] = []
        self.closed = False

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        return [[float(len(text))] * self.dimension for text in texts]

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis", password="secret")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def redis(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url)
    yield client
    await client.aclose()


async def test_a_text_is_computed_once_and_reads_back_the_same(redis: Redis) -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder, redis)
    first = await cached.embed(["one", "three", "one"])
    again = await CachedEmbedder(Counting(), redis).embed(["one", "three", "one"])
    assert first == again == [[3.0] * 3, [5.0] * 3, [3.0] * 3]
    assert embedder.asked == [["one", "three"]]


async def test_only_what_is_missing_is_computed_and_the_order_is_kept(redis: Redis) -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder, redis)
    await cached.embed(["bb"])
    assert await cached.embed(["a", "bb", "ccc"]) == [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert embedder.asked[1] == ["a", "ccc"]


@pytest.mark.parametrize("other", [Counting(model="other"), Counting(dimension=2), Counting(version="2")])
async def test_another_model_dimension_or_version_is_computed_anew(redis: Redis, other: Counting) -> None:
    await CachedEmbedder(Counting(), redis).embed(["text"])
    assert await CachedEmbedder(other, redis).embed(["text"]) == [[4.0] * other.dimension]
    assert other.asked == [["text"]]


async def test_a_damaged_entry_is_computed_anew(redis: Redis) -> None:
    cached = CachedEmbedder(Counting(), redis)
    await cached.embed(["text"])
    (key,) = await redis.keys("embedding:*")
    await redis.hset(key, "counting:3:1", array("f", [1.0]).tobytes())
    assert await cached.embed(["text"]) == [[4.0] * 3]


async def test_entries_expire(redis: Redis) -> None:
    await CachedEmbedder(Counting(), redis, ttl_seconds=60).embed(["text"])
    (key,) = await redis.keys("embedding:*")
    assert 0 < await redis.ttl(key) <= 60


async def test_the_text_itself_is_not_stored(redis: Redis) -> None:
    await CachedEmbedder(Counting(), redis).embed(["a person's words"])
    assert "person" not in str(await redis.keys("*"))


async def test_forgetting_a_text_erases_it_for_every_model_and_no_other_text(redis: Redis) -> None:
    for embedder in (Counting(), Counting(model="other")):
        await CachedEmbedder(embedder, redis).embed(["mine", "yours"])
    assert await CachedEmbedder(Counting(), redis).forget(["mine", "never seen"]) == 1
    assert len(await redis.keys("embedding:*")) == 1
    again = Counting()
    await CachedEmbedder(again, redis).embed(["mine", "yours"])
    assert again.asked == [["mine"]]


async def test_a_dead_redis_costs_time_and_nothing_else(server: EmbeddedRedis, redis: Redis) -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder, redis)
    await cached.embed(["one"])
    await server.stop()
    assert await cached.embed(["one"]) == [[3.0] * 3]
    assert len(embedder.asked) == 2


async def test_forgetting_with_a_dead_redis_is_an_error(server: EmbeddedRedis, redis: Redis) -> None:
    cached = CachedEmbedder(Counting(), redis)
    await server.stop()
    with pytest.raises(Unavailable, match="could not be erased"):
        await cached.forget(["mine"])


async def test_closing_closes_the_model_and_leaves_redis_open(redis: Redis) -> None:
    embedder = Counting()
    await CachedEmbedder(embedder, redis).close()
    assert embedder.closed
    assert await redis.ping()
