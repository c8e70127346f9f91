"""Recognises a model that goes in circles, so that it does not go on until its money is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

REPEATS = 3  # the same call with the same result, one after the other
ALTERNATING = 4  # A-B-A-B
IDLE_TURNS = 6  # turns without a call that succeeded and was new


@dataclass(slots=True)
class StuckDetector:
    """Watches the calls of one mission."""

    _recent: list[bytes] = field(default_factory=list)
    _seen: set[bytes] = field(default_factory=set)
    _idle: int = 0

    def turn(self, calls: Sequence[tuple[str, str, str, bool]]) -> str:
        """What is wrong after a turn with `calls` (tool, arguments, result, failed); empty when nothing is.

        After an answer that is not empty it starts anew: the model is warned and gets the same chance again.
        """
        progress = False
        for tool, arguments, result, failed in calls:
            call = sha256("\0".join((tool, arguments, result)).encode("utf-8", "replace")).digest()
            progress = progress or (not failed and call not in self._seen)
            self._seen.add(call)
            self._recent.append(call)
        self._recent = self._recent[-max(REPEATS, ALTERNATING) :]
        self._idle = 0 if progress else self._idle + 1
        found = self._found()
        if found:
            self._recent.clear()
            self._idle = 0
        return found

    def _found(self) -> str:
        last = self._recent[-REPEATS:]
        if len(last) == REPEATS and len(set(last)) == 1:
            return f"the same call gave the same result {REPEATS} times"
        last = self._recent[-ALTERNATING:]
        if len(last) == ALTERNATING and last[:2] == last[2:]:
            return "two calls alternate with the same results"
        if self._idle >= IDLE_TURNS:
            return f"{IDLE_TURNS} turns brought nothing new"
        return ""
