"""Faults on demand: what GitHub and the network do on a bad day."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

from errors import InputError

Kind = Literal[
    "status",  # answer `status`; nothing happens
    "rate_limit",  # 403, primary limit spent; reset in `seconds`
    "secondary_limit",  # 429 with retry-after `seconds`
    "drop",  # close the connection; nothing happens
    "drop_after",  # do it, then close the connection
    "hang",  # no answer for `seconds`
    "garbage",  # do it, then answer 200 with something that is no JSON
    "oversized",  # answer 200 with `seconds` MiB of JSON
]


@dataclass(slots=True)
class Fault:
    """Strikes `times` calls that fit, after `skip` others; `path` is a part of the path, empty fits any."""

    kind: Kind
    method: str = ""
    path: str = ""
    times: int = 1
    skip: int = 0
    status: int = 500
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(
                f"fault kind {self.kind!r} is unknown", f"use one of {', '.join(get_args(Kind))}"
            )


@dataclass(slots=True)
class Faults:
    """Of calls and of deliveries. `lose_deliveries` and `double_deliveries` count down."""

    lose_deliveries: int = 0
    double_deliveries: int = 0
    _waiting: list[Fault] = field(default_factory=list)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        """Back to a good day; calls that hang are let go."""
        self._waiting.clear()
        self.lose_deliveries = self.double_deliveries = 0
        self._released.set()
        self._released = asyncio.Event()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that strikes this call, if any."""
        for fault in self._waiting:
            if fault.method in ("", method) and fault.path in path:
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None

    async def hang(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._released.wait()
