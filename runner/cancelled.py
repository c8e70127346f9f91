"""Endless loops end when they are cancelled, whatever the libraries in them do with it."""

from __future__ import annotations

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError where this task was cancelled and a library kept that to itself.

    `asyncio.wait_for` of Python 3.11, through which redis-py sends its commands, loses a cancellation that comes just
    as it returns. A loop that does not ask here in every round then never ends, and neither does its process.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
