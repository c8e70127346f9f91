"""An embedder for tests: words are hashed into a few dimensions, so that the same words are near each other."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field


async def _nothing(batch: int) -> None:
    pass


@dataclass(slots=True)
class WordEmbedder:
    """`before_batch` gets the number of the batch, from 1: tests put a crash there."""

    model: str = "words"
    dimension: int = 16
    version: str = "1"
    before_batch: Callable[[int], Awaitable[None]] = _nothing
    texts: list[str] = field(default_factory=list)
    batches: int = 0

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.batches += 1
        await self.before_batch(self.batches)
        self.texts.extend(texts)
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.01] * self.dimension
        for word in text.lower().split():
            vector[hashlib.sha256(f"{self.version}{word}".encode()).digest()[0] % self.dimension] += 1.0
        length = math.sqrt(sum(value * value for value in vector))
        return [value / length for value in vector]

    async def close(self) -> None:
        pass
