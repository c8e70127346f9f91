"""GitHub's rate limits, one state an owner (each installation has its own limit).

Source: docs.github.com, "Rate limits for the REST API". Calls made while limited may get the App banned.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from errors import RateLimited

# GitHub: without a retry-after header, wait at least one minute after a secondary limit.
SECONDARY_LIMIT_SECONDS = 60.0


class RateLimits:
    """Remembers until when each owner is limited. `max_wait` (seconds) is the longest sleep."""

    def __init__(
        self, max_wait: float, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._max_wait = max_wait
        self._clock = clock
        self._sleep = sleep
        self._until: dict[str, float] = {}

    def retry_at(self, owner: str) -> datetime | None:
        """When the limit ends (UTC); None when calls are taken now."""
        until = self._until.get(owner.lower(), 0.0)
        return datetime.fromtimestamp(until, UTC) if until > self._clock() else None

    async def wait(self, owner: str) -> None:
        """Sleeps until the limit ends, or raises RateLimited when that is later than `max_wait`."""
        retry_at = self.retry_at(owner)
        if retry_at is None:
            return
        seconds = retry_at.timestamp() - self._clock()
        if seconds > self._max_wait:
            raise RateLimited(retry_at)
        # Spread, so that callers of one owner do not all wake in the same instant.
        await self._sleep(seconds + random.uniform(0.0, min(1.0, seconds / 10)))

    def note(self, owner: str, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Reads an answer; True when this very call was refused for a limit (and so had no effect)."""
        now = self._clock()
        refused = status in (403, 429)
        retry_after = headers.get("retry-after", "")
        reset = headers.get("x-ratelimit-reset", "")
        if refused and retry_after.isdecimal():
            until = now + float(retry_after)
        elif headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
            until = float(reset)
        elif status == 429 or (refused and b"rate limit" in body.lower()):
            until = now + SECONDARY_LIMIT_SECONDS
        else:
            return False
        self._until[owner.lower()] = until
        return refused
