"""Keeps embeddings in Redis, so that a text is computed or paid for once."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from array import array
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from database.embeddings.protocol import Embedder
from errors import Unavailable

TTL_SECONDS = 30 * 24 * 3600
TIMEOUT_SECONDS = 0.5  # a Redis that is away costs this much per call, and nothing else


class CachedEmbedder:
    """Any embedder with a cache before it.

    One Redis hash per text, `embedding:<sha256 of the text>`, with a field per model, dimension and version
    that holds little-endian float32: erasing a text is one DEL whatever models it was embedded with.
    """

    def __init__(self, embedder: Embedder, redis: Redis, ttl_seconds: int = TTL_SECONDS) -> None:
        self._embedder = embedder
        self._redis = redis
        self._ttl_seconds = ttl_seconds
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
                    pipeline.hget(_key(text), self._field)
                stored = await pipeline.execute()
        except (RedisError, OSError, TimeoutError):
            return {}
        return {
            text: _unpack(value)
            for text, value in zip(texts, stored, strict=True)
            if isinstance(value, bytes) and len(value) == 4 * self.dimension
        }

    async def _write(self, vectors: dict[str, list[float]]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), self._redis.pipeline(transaction=True) as pipeline:
                for text, vector in vectors.items():
                    pipeline.hset(_key(text), self._field, _pack(vector))
                    pipeline.expire(_key(text), self._ttl_seconds)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError):
            return  # the cache only saves time and money


async def forget(redis: Redis, texts: Sequence[str]) -> int:
    """Erase texts for every model and return how many there were.

    Raises Unavailable: unlike a read, an erasure must not fail quietly.
    """
    if not texts:
        return 0
    try:
        async with asyncio.timeout(10):
            erased: int = await redis.delete(*map(_key, texts))
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"embeddings could not be erased from Redis: {type(error).__name__}") from error
    return erased


def _key(text: str) -> str:
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
