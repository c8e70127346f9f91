"""The embedder of a process that lives on through a change of the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from database.connect import Connection, Pool
from database.embeddings.protocol import Embedder
from database.vectors import Space, adopt_space, current_space


class CurrentEmbedder:
    """Embeds in the database's current space; after a switch, the next call embeds in the new one.

    `reopen` opens the embedder that EMBEDDING_MODEL's words name. Another model than the current one is refused at
    the first call, since nobody has said then which of the two is meant.
    """

    def __init__(self, embedder: Embedder, reopen: Callable[[str], Awaitable[Embedder]]) -> None:
        self._embedder = embedder
        self._reopen = reopen
        self._adopted = False
        self._users = 0

    async def space(self, connection: Connection | Pool) -> Space:
        """The space of the next vectors. Raises SettingsError where another one than ours is current."""
        await self._follow(connection)
        return Space.of(self._embedder)

    async def embed(
        self, connection: Connection | Pool, texts: Sequence[str]
    ) -> tuple[Space, list[list[float]]]:
        """A vector for each text, and the space that they are in. Raises SettingsError or Unavailable."""
        await self._follow(connection)
        embedder = self._embedder
        self._users += 1
        try:
            return Space.of(embedder), await embedder.embed(texts)
        finally:
            self._users -= 1

    async def _follow(self, connection: Connection | Pool) -> None:
        if not self._adopted:
            await adopt_space(connection, Space.of(self._embedder))
            self._adopted = True
            return
        current = await current_space(connection)
        if current is None or current == Space.of(self._embedder) or self._users:
            return  # what is in use is not closed; a caller that comes later follows
        former, self._embedder = self._embedder, await self._reopen(current.setting)
        await former.close()

    async def close(self) -> None:
        """Free the model or the connections."""
        await self._embedder.close()
