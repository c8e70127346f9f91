"""The order of agents for one issue: most points first, ties spread by a stable rule."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Sequence

from runner.issue import Issue


class Ranking:
    """Orders positions by points. Ties go by a hash of issue and name, so that twins share the load."""

    def __init__(self, issue: Issue, names: Sequence[str]) -> None:
        self._salt = f"{issue.repository}#{issue.number}\n{issue.title}\n"
        self._names = names

    def _hash(self, position: int) -> bytes:
        text = self._salt + self._names[position]
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def ties(self, points: Sequence[float], position: int) -> list[int]:
        """Who else has the points of `position`."""
        return [p for p, value in enumerate(points) if value == points[position] and p != position]

    def best(self, points: Sequence[float]) -> int:
        """The first of all."""
        highest = max(points)
        return min((p for p, value in enumerate(points) if value == highest), key=self._hash)

    def top(self, points: Sequence[float], most: int) -> list[int]:
        """The `most` best that have points at all; any three where nobody has."""
        some = [(value, position) for position, value in enumerate(points) if value > 0.0]
        if not some:
            return sorted(range(len(points)), key=self._hash)[:3]
        bar = heapq.nlargest(most, some)[-1][0]  # hash only who could be among them
        shown = sorted((-value, self._hash(position), position) for value, position in some if value >= bar)
        return [position for _, _, position in shown[:most]]
