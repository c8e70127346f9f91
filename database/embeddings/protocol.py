"""What every embedding model offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """Vectors of another `model`, `dimension` or `version` must not be compared: each row carries all."""

    @property
    def model(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def version(self) -> str: ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector of `dimension` numbers and length 1 per text, in the order given.

        A text beyond the model's limit is cut at that many tokens. Raises Unavailable when a service is away.
        """
        ...

    async def close(self) -> None:
        """Free the model or the connections."""
        ...
