"""The embedder of a process that lives on through a change of the model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from database.connect import Connection, Pool
from database.embeddings.protocol import Embedder
from database.vectors import Space, adopt_space, current_space


@dataclass(slots=True)
class _Opened:
    embedder: Embedder
    users: int = 0
    former: bool = False

    async def close_when_unused(self) -> None:
        if self.former and not self.users:
            await self.embedder.close()


class CurrentEmbedder:
    """Embeds in the database's current space; after a switch, the next call embeds in the new one.

    `reopen` opens the embedder that EMBEDDING_MODEL's words name. Another model than the current one is refused at
    the first call, since nobody has said then which of the two is meant.
    """

    def __init__(self, embedder: Embedder, reopen: Callable[[str], Awaitable[Embedder]]) -> None:
        self._opened = _Opened(embedder)
        self._reopen = reopen
        self._adopted = False
        self._following = asyncio.Lock()

    async def space(self, connection: Connection | Pool) -> Space:
        """The space of the next vectors. Raises SettingsError where another one than ours is current."""
        await self._follow(connection)
        return Space.of(self._opened.embedder)

    async def embed(
        self, connection: Connection | Pool, texts: Sequence[str]
    ) -> tuple[Space, list[list[float]]]:
        """A vector for each text, and the space that they are in. Raises SettingsError or Unavailable."""
        await self._follow(connection)
        opened = self._opened
        opened.users += 1
        try:
            return Space.of(opened.embedder), await opened.embedder.embed(texts)
        finally:
            opened.users -= 1
            await opened.close_when_unused()

    async def _follow(self, connection: Connection | Pool) -> None:
        if not self._adopted:
            await adopt_space(connection, Space.of(self._opened.embedder))
            self._adopted = True
            return
        current = await current_space(connection)
        if current is None or current == Space.of(self._opened.embedder):
            return
        async with self._following:
            if current == Space.of(self._opened.embedder):  # another caller has followed meanwhile
                return
            former, self._opened = self._opened, _Opened(await self._reopen(current.setting))
            former.former = True
            await former.close_when_unused()

    async def close(self) -> None:
        """Free the model or the connections."""
        await self._opened.embedder.close()
