"""The cache of embeddings in a real Redis: it saves work, is erasable, and its loss costs only time."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from database.embeddings.cache import ERASED_SECONDS, CachedEmbedder, forget
from errors import Unavailable
from runner.local.embedded import EmbeddedRedis

DAYS = 30


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
    cached = CachedEmbedder(embedder, redis, DAYS)
    first = await cached.embed(["one", "three", "one"])
    again = await CachedEmbedder(Counting(), redis, DAYS).embed(["one", "three", "one"])
    assert first == again == [[3.0] * 3, [5.0] * 3, [3.0] * 3]
    assert embedder.asked == [["one", "three"]]


async def test_only_what_is_missing_is_computed_and_the_order_is_kept(redis: Redis) -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder, redis, DAYS)
    await cached.embed(["bb"])
    assert await cached.embed(["a", "bb", "ccc"]) == [[1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert embedder.asked[1] == ["a", "ccc"]


@pytest.mark.parametrize("other", [Counting(model="other"), Counting(dimension=2), Counting(version="2")])
async def test_another_model_dimension_or_version_is_computed_anew(redis: Redis, other: Counting) -> None:
    await CachedEmbedder(Counting(), redis, DAYS).embed(["text"])
    assert await CachedEmbedder(other, redis, DAYS).embed(["text"]) == [[4.0] * other.dimension]
    assert other.asked == [["text"]]


async def test_a_damaged_entry_is_computed_anew(redis: Redis) -> None:
    cached = CachedEmbedder(Counting(), redis, DAYS)
    await cached.embed(["text"])
    (key,) = await redis.keys("embedding:*")
    await redis.hset(key, "counting:3:1", array("f", [1.0]).tobytes())
    assert await cached.embed(["text"]) == [[4.0] * 3]


async def test_entries_expire(redis: Redis) -> None:
    await CachedEmbedder(Counting(), redis, 1).embed(["text"])
    (key,) = await redis.keys("embedding:*")
    assert 86_390 < await redis.ttl(key) <= 86_400
    await CachedEmbedder(Counting(version="2"), redis, None).embed(["for ever"])
    assert sorted([await redis.ttl(key) for key in await redis.keys("embedding:*")])[0] == -1


async def test_the_text_itself_is_not_stored(redis: Redis) -> None:
    await CachedEmbedder(Counting(), redis, DAYS).embed(["a person's words"])
    assert "person" not in str(await redis.keys("*"))


async def test_forgetting_a_text_erases_it_for_every_model_and_no_other_text(redis: Redis) -> None:
    for embedder in (Counting(), Counting(model="other")):
        await CachedEmbedder(embedder, redis, DAYS).embed(["mine", "yours"])
    assert await CachedEmbedder(Counting(), redis, DAYS).forget(["mine", "never seen"]) == 1
    again = Counting()
    await CachedEmbedder(again, redis, DAYS).embed(["mine", "yours"])
    assert again.asked == [["mine"]]


class ErasedMeanwhile(Counting):
    """While it computes, somebody erases a text."""

    def __init__(self, redis: Redis, text: str) -> None:
        super().__init__()
        self.redis = redis
        self.text = text

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        await forget(self.redis, [self.text])
        return await super().embed(texts)


async def test_what_is_erased_while_it_is_computed_does_not_come_back(redis: Redis) -> None:
    racing = CachedEmbedder(ErasedMeanwhile(redis, "mine"), redis, DAYS)
    assert await racing.embed(["mine", "yours"]) == [[4.0] * 3, [5.0] * 3]
    again = Counting()
    await CachedEmbedder(again, redis, DAYS).embed(["mine", "yours"])
    assert again.asked == [["mine"]]


async def test_what_is_erased_while_it_is_written_does_not_come_back(redis: Redis, monkeypatch) -> None:
    racing = CachedEmbedder(Counting(), redis, DAYS)
    look = racing._are_erased

    async def erased_just_after(keys: Sequence[str]) -> set[str]:
        erased = await look(keys)
        await forget(redis, ["mine"])
        return erased

    monkeypatch.setattr(racing, "_are_erased", erased_just_after)
    await racing.embed(["mine"])
    again = Counting()
    await CachedEmbedder(again, redis, DAYS).embed(["mine"])
    assert again.asked == [["mine"]]


async def test_of_an_erased_text_nothing_stays_but_for_a_while_that_it_was_erased(redis: Redis) -> None:
    await CachedEmbedder(Counting(), redis, DAYS).embed(["mine"])
    await forget(redis, ["mine"])
    (key,) = await redis.keys("*")
    assert await redis.hgetall(key) == {b"erased": b"1"}
    assert 0 < await redis.ttl(key) <= ERASED_SECONDS


async def test_a_dead_redis_costs_time_and_nothing_else(server: EmbeddedRedis, redis: Redis) -> None:
    embedder = Counting()
    cached = CachedEmbedder(embedder, redis, DAYS)
    await cached.embed(["one"])
    await server.stop()
    assert await cached.embed(["one"]) == [[3.0] * 3]
    assert len(embedder.asked) == 2


async def test_forgetting_with_a_dead_redis_is_an_error(server: EmbeddedRedis, redis: Redis) -> None:
    cached = CachedEmbedder(Counting(), redis, DAYS)
    await server.stop()
    with pytest.raises(Unavailable, match="could not be erased"):
        await cached.forget(["mine"])


async def test_closing_closes_the_model_and_leaves_redis_open(redis: Redis) -> None:
    embedder = Counting()
    await CachedEmbedder(embedder, redis, DAYS).close()
    assert embedder.closed
    assert await redis.ping()
