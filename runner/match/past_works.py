"""What the nearest past works say about an issue: who really did work like this before."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.match.history import Work
from runner.match.terms import Terms

NEIGHBOURS = 50
POINTS = 45.0  # for one past work that says exactly the same, done just now
HALF_AT = 40  # works of age at which a neighbour counts half, a third at twice that: practice changes
REMEMBERED = 3_000  # newest works with a known agent that are searched


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A past work that is like the issue."""

    work: Work
    agent: int
    """Position of its agent among the definitions."""
    likeness: float
    """Cosine of the two works' weighted terms, 0 to 1."""
    points: float


class PastWorks:
    """Searches the works of agents that have a definition. Immutable once built."""

    def __init__(self, works: Sequence[Work], positions: Mapping[str, int]) -> None:
        """`works` oldest first; `positions`: agent → its place among the definitions."""
        read = [(work, Terms(work.title, work.body, work.labels).weights) for work in works]
        frequency = Counter(term for _, weights in read for term in weights)
        # Works that nobody is known for still tell which words this repository uses all the time.
        self._rarity = {t: max(0.0, math.log((len(read) + 1) / (n + 0.5))) for t, n in frequency.items()}
        self._unseen = math.log((len(read) + 1) / 0.5)
        known = [(work, weights) for work, weights in read if work.agent in positions][-REMEMBERED:]
        self._works = [work for work, _ in known]
        self._agents = [positions[work.agent or ""] for work in self._works]
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for index, (_, weights) in enumerate(known):
            for term, value in self._unit(weights).items():
                self._postings[term].append((index, value))

    def _unit(self, weights: Mapping[str, float]) -> dict[str, float]:
        # A word that no work has makes the issue less like each of them.
        rare = {term: weight * self._rarity.get(term, self._unseen) for term, weight in weights.items()}
        length = math.sqrt(sum(value * value for value in rare.values()))
        return {term: value / length for term, value in rare.items()} if length else {}

    def neighbours(self, weights: Mapping[str, float], number: int) -> list[Neighbour]:
        """The works most like `weights`, best first; the work `number` itself is no evidence about itself."""
        if not self._works:
            return []
        likeness: dict[int, float] = defaultdict(float)
        for term, value in self._unit(weights).items():
            for index, other in self._postings.get(term, ()):
                likeness[index] += value * other
        nearest = heapq.nlargest(NEIGHBOURS + 1, likeness.items(), key=lambda item: (item[1], item[0]))
        newest = len(self._works) - 1
        return [
            Neighbour(self._works[i], self._agents[i], like, POINTS * like / (1 + (newest - i) / HALF_AT))
            for i, like in nearest
            if self._works[i].number != number
        ][:NEIGHBOURS]
