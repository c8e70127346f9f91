"""Work that must reach its end even when the mission is cancelled: settling money, cleaning up, file work."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[object, object, T]) -> T:
    """The result of `work`, which ends first even when the caller is cancelled. It must bound its time."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # retrieved, or asyncio would report it as lost
        raise cancelled
    return task.result()
