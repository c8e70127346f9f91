"""Keeps embeddings in Redis, so that a text is computed or paid for once."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from array import array
from collections.abc import Sequence
from datetime import timedelta

from redis.asyncio import Redis
from redis.exceptions import RedisError

from database.embeddings import EmbeddingSettings, open_embedder
from database.embeddings.protocol import Embedder
from database.retention import Retention
from errors import Unavailable

TIMEOUT_SECONDS = 0.5  # a Redis that is away costs this much per call, and nothing else
# Stands for this long where a text was erased: who was embedding it at that moment, or still held it, keeps no vector.
ERASED_SECONDS = 3600
_ERASED = "erased"


async def open_cached_embedder(
    settings: EmbeddingSettings, redis: Redis | None, retention: Retention
) -> Embedder:
    """The embedder that the settings name, with the cache before it where there is a Redis. Raises SettingsError."""
    embedder = await open_embedder(settings)
    return embedder if redis is None else CachedEmbedder(embedder, redis, retention.days["embedding_cache"])


class CachedEmbedder:
    """Any embedder with a cache before it.

    One Redis hash per text, `embedding:<sha256 of the text>`, with a field per model, dimension and version
    that holds little-endian float32: erasing a text is one DEL whatever models it was embedded with. Each is kept
    for `days`, None: for ever. Answers of `redis` must be bytes.
    """

    def __init__(self, embedder: Embedder, redis: Redis, days: int | None) -> None:
        self._embedder = embedder
        self._redis = redis
        self.days = days
        self.model = embedder.model
        self.dimension = embedder.dimension
        self.version = embedder.version
        self._field = f"{self.model}:{self.dimension}:{self.version}"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See Embedder. A text that stands twice is embedded once."""
        known = await self._read(list(dict.fromkeys(texts)))
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            computed = dict(zip(missing, await self._embedder.embed(missing), strict=True))
            await self._write(computed)
            known |= computed
        return [known[text] for text in texts]

    async def forget(self, texts: Sequence[str]) -> int:
        """See `forget`."""
        return await forget(self._redis, texts)

    async def close(self) -> None:
        """Close the embedder; Redis belongs to the caller."""
        await self._embedder.close()

    async def _read(self, texts: Sequence[str]) -> dict[str, list[float]]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self._redis.pipeline(transaction=False) as pipeline:
                for text in texts:
                    pipeline.hget(key_of(text), self._field)
                stored = await pipeline.execute()
        except (RedisError, OSError, TimeoutError):
            return {}
        return {
            text: _unpack(value)
            for text, value in zip(texts, stored, strict=True)
            if isinstance(value, bytes) and len(value) == 4 * self.dimension
        }

    async def _write(self, vectors: dict[str, list[float]]) -> None:
        """Nothing where one of them is erased at this moment: the cache only saves time and money."""
        keys = [key_of(text) for text in vectors]
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self._redis.pipeline(transaction=True) as pipeline:
                await pipeline.watch(*keys)
                erased = await self._are_erased(keys)
                pipeline.multi()  # type: ignore[no-untyped-call]
                for key, vector in zip(keys, vectors.values(), strict=True):
                    if key not in erased:
                        pipeline.hset(key, self._field, _pack(vector))
                        if self.days is not None:
                            pipeline.expire(key, timedelta(days=self.days))
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError):
            return

    async def _are_erased(self, keys: Sequence[str]) -> set[str]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hexists(key, _ERASED)
            answers = await pipeline.execute()
        return {key for key, erased in zip(keys, answers, strict=True) if erased}


async def forget(redis: Redis, texts: Sequence[str]) -> int:
    """Erase texts for every model and return how many there were; they are kept again only after a while.

    Raises Unavailable: unlike a read, an erasure must not fail quietly.
    """
    if not texts:
        return 0
    try:
        async with asyncio.timeout(10), redis.pipeline(transaction=True) as pipeline:
            for key in map(key_of, texts):
                pipeline.delete(key)
                pipeline.hset(key, _ERASED, "1")
                pipeline.expire(key, ERASED_SECONDS)
            answers = await pipeline.execute()
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"embeddings could not be erased from Redis: {type(error).__name__}") from error
    return sum(answers[::3])


def key_of(text: str) -> str:
    """Where a text's vectors stand; the text itself stands nowhere."""
    return f"embedding:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"


def _pack(vector: Sequence[float]) -> bytes:
    values = array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _unpack(value: bytes) -> list[float]:
    values = array("f", value)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
