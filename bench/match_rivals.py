"""What our matching is measured against: counts and BM25 over definitions, the busiest agent, past works alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from runner.agents import Agent
from runner.match.history import Work

Chooser = Callable[[Work], list[str]]
"""A work → agents, best first, three at most."""

K1 = 1.5  # the values of rank_bm25 0.2.2, a usual choice
B = 0.75
_WORD = re.compile(r"[a-z0-9]+")


def keyword_count(agents: Sequence[Agent]) -> Chooser:
    """How many different words of a definition's name and description the work uses."""
    keywords = {agent.name: set(_words(f"{agent.name} {agent.description}")) for agent in agents}
    return lambda work: _best({name: len(words & _used(work)) for name, words in keywords.items()})


def bm25(agents: Sequence[Agent]) -> Chooser:
    """Okapi BM25 over the whole definitions."""
    documents = {
        agent.name: Counter(_words(f"{agent.name} {agent.description} {agent.body}")) for agent in agents
    }
    holders = Counter(word for counts in documents.values() for word in counts)
    usual = sum(sum(counts.values()) for counts in documents.values()) / len(documents)

    def rarity(word: str) -> float:
        return math.log(1 + (len(documents) - holders[word] + 0.5) / (holders[word] + 0.5))

    def score(counts: Counter[str], used: set[str]) -> float:
        damping = K1 * (1 - B + B * sum(counts.values()) / usual)
        return sum(rarity(w) * counts[w] * (K1 + 1) / (counts[w] + damping) for w in used if w in counts)

    return lambda work: _best({name: score(counts, _used(work)) for name, counts in documents.items()})


def busiest(agents: Sequence[Agent], history: Sequence[Work]) -> Chooser:
    """Always the agents that did most of the history."""
    names = {agent.name for agent in agents}
    counts = Counter(work.agent for work in history if work.agent in names)
    return lambda _: _best({name: float(count) for name, count in counts.items() if name})


def _best(scores: dict[str, float]) -> list[str]:
    return sorted((name for name in scores if scores[name] > 0), key=lambda name: (-scores[name], name))[:3]


def _used(work: Work) -> set[str]:
    return set(_words(f"{work.title} {work.body}"))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
