"""One round of queries for all who look at the page, and only while somebody looks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from database.connect import AWAY

_COST_SHARE = 10.0  # a round may take a tenth of the time, however large the tables have become
_QUIET_SECONDS = 15.0  # after so long without news a comment shows that the connection lives


class Source(Protocol):
    """Where snapshots come from: `status.Status`, `memory.MemoryFigures`."""

    async def snapshot(self) -> dict[str, Any]: ...

    def away(self) -> list[dict[str, str]]: ...


@dataclass(slots=True)
class Feed:
    """The newest snapshot as JSON, taken again when somebody asks and it is older than `seconds`."""

    source: Source
    seconds: float = 1.0
    """Between two rounds, and so between two events."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _snapshot: Mapping[str, Any] = field(default_factory=dict)
    _text: str = ""
    _version: int = 0
    _due: float = 0.0

    def stop(self) -> None:
        """End every `events`, so that the server can stop."""
        self._stopping.set()

    async def newest(self) -> tuple[int, str]:
        """(version, JSON). The version grows only when something changed.

        While PostgreSQL is away, the last snapshot stands and its `away` says so.
        """
        async with self._lock:
            started = time.monotonic()
            if started >= self._due:
                try:
                    snapshot: Mapping[str, Any] = await self.source.snapshot()
                except AWAY as away:
                    database = {
                        "what": "database",
                        "why": f"PostgreSQL does not answer ({type(away).__name__})",
                    }
                    others = [item for item in self.source.away() if item["what"] != "database"]
                    snapshot = {**self._snapshot, "away": [database, *others]}
                if snapshot != self._snapshot or not self._text:
                    self._snapshot = snapshot
                    self._version += 1
                    stamped = {"now": round(time.time() * 1000), **snapshot}
                    self._text = json.dumps(stamped, ensure_ascii=False, separators=(",", ":"))
                ended = time.monotonic()
                self._due = ended + max(self.seconds, (ended - started) * _COST_SHARE)
            return self._version, self._text

    async def events(self) -> AsyncIterator[str | None]:
        """Each new snapshot as JSON, at most one in `seconds`; None where for long there was none. Until `stop`."""
        seen = 0
        quiet_since = time.monotonic()
        while not self._stopping.is_set():
            version, text = await self.newest()
            if version != seen:
                seen, quiet_since = version, time.monotonic()
                yield text
            elif time.monotonic() - quiet_since >= _QUIET_SECONDS:
                quiet_since = time.monotonic()
                yield None
            try:
                await asyncio.wait_for(self._stopping.wait(), max(self._due - time.monotonic(), 0.05))
            except TimeoutError:
                continue
