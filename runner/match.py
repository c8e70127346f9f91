"""Issue → the one specialist for it: pure, deterministic and explained.

Points come from the definitions' own text (`definition_index`), from what agents really did before (`past_works`)
and from agents named in the text. A word of the title that one definition in twenty has in its description gives
about 5 points, in its name about 12. Below `MINIMUM` nobody is chosen.
"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from errors import DefinitionError
from runner.agents import Agent
from runner.definition_index import DefinitionIndex
from runner.fair_share import Ranking, margins, over_share
from runner.history import Work
from runner.issue import AGENT_LABEL, Issue
from runner.past_works import Neighbour, PastWorks
from runner.terms import READ_CHARACTERS, Terms
from runner.vocabulary import Vocabulary

MINIMUM = 3.0
MENTION_POINTS = 30.0  # for `@name`, shared out where several agents are mentioned
NAMING_POINTS = 15.0  # for a name of several words without the @
CANDIDATES = 5
REASONS = 5
_EXACTNESS = 2  # decimals; scores that differ in less are a tie
_WINDOW = 150  # newest works with a known agent that must come out shared fairly
_WIDE_WINDOW = 300  # newest different works, known agent or not, that must as well
_NAMES = re.compile(r"(?<![\w@-])(@?)([a-z0-9]+(?:-[a-z0-9]+)*)(?![\w-])")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent and its points."""

    agent: str
    score: float


@dataclass(frozen=True, slots=True)
class Match:
    """The answer for one issue. `agent` is None where the matcher abstains; `candidates` are there even then."""

    agent: str | None
    score: float
    candidates: tuple[Candidate, ...]
    """Best first, at most five; the first is `agent`, if there is one."""
    why: tuple[str, ...]


class Matcher:
    """Matches issues against one set of definitions and one history. Immutable once built."""

    def __init__(self, agents: Sequence[Agent], history: Sequence[Work] = ()) -> None:
        """`history` oldest first. Raises DefinitionError where there is no agent."""
        if not agents:
            raise DefinitionError("there is no agent to match issues with", "add a definition")
        # The answer must not hang on the order in which the definitions came.
        agents = sorted(agents, key=lambda agent: agent.name)
        self._names = [agent.name for agent in agents]
        self._position = {name: position for position, name in enumerate(self._names)}
        self._by_lower_case = {name.lower(): position for name, position in self._position.items()}
        self._vocabulary = Vocabulary()
        self._definitions = DefinitionIndex(agents, self._vocabulary)
        self._past = PastWorks(history, self._position)
        self._margins = margins(self._windows(history), len(agents), MINIMUM)

    def match(self, issue: Issue) -> Match:
        """The agent for `issue`; a person's `agent:<name>` label decides where that agent exists."""
        terms = self._terms(issue.title, issue.body, issue.labels)
        strengths = self._definitions.strengths(terms)
        neighbours = self._past.neighbours(terms.weights, issue.number)
        named = self._named(issue)
        points = self._points(strengths, neighbours, named)
        held = [value - margin if value else 0.0 for value, margin in zip(points, self._margins, strict=True)]
        order = _Order(issue, self._names)

        first = order.best(held)
        labelled, why = self._labelled(issue)
        if labelled is not None:
            score = max(points)
            return Match(
                self._names[labelled], *self._answer(labelled, max(score, MINIMUM), points, order), tuple(why)
            )
        score = max(held[first], 0.0)
        if score < MINIMUM:
            why.append(f"abstains: the best score {score:.1f} is below {MINIMUM:g}")
            return Match(None, *self._answer(first, score, held, order), tuple(why))

        rivals = order.best(points)
        if rivals != first:
            why.append(f"{self._names[rivals]} steps back: it has had its share of such work")
        elif twins := order.ties(held, first):
            why.append(f"tie with {', '.join(self._names[twin] for twin in twins[:3])}: spread by issue")
        why.extend(self._reasons(first, strengths, terms, neighbours, named))
        return Match(self._names[first], *self._answer(first, score, points, order), tuple(why))

    def _terms(self, title: str, body: str, labels: Sequence[str]) -> Terms:
        return Terms(title, body, labels, self._vocabulary.phrases)

    def _points(
        self, strengths: dict[str, float], neighbours: Sequence[Neighbour], named: dict[int, float]
    ) -> list[float]:
        points = self._definitions.scores(strengths)
        for neighbour in neighbours:
            points[neighbour.agent] += neighbour.points
        for position, value in named.items():
            points[position] += value
        return [round(value, _EXACTNESS) for value in points]

    def _answer(
        self, first: int, score: float, points: Sequence[float], order: _Order
    ) -> tuple[float, tuple[Candidate, ...]]:
        """The first candidate with `score`, then the others by their points, none above the first."""
        others = [position for position in order.top(points, CANDIDATES + 1) if position != first]
        shown = [(first, score), *((other, min(max(points[other], 0.0), score)) for other in others)]
        rounded = [Candidate(self._names[position], round(value, _EXACTNESS)) for position, value in shown]
        return round(score, _EXACTNESS), tuple(rounded[:CANDIDATES])

    def _labelled(self, issue: Issue) -> tuple[int | None, list[str]]:
        """The agent that a label names, if there is such an agent, and what was found about such labels."""
        chosen: int | None = None
        why = []
        for label in sorted(set(issue.labels)):
            if not label.startswith(AGENT_LABEL):
                continue
            name = label.removeprefix(AGENT_LABEL).strip()
            position = self._position.get(name, self._by_lower_case.get(name.lower()))
            if position is None:
                why.append(f"label `{label[:60]}` ignored: no such agent")
            elif chosen is None:
                chosen = position
                why.append(f"label `{label}` decides")
            elif position != chosen:
                why.append(f"label `{label}` ignored: one agent works an issue")
        return chosen, why

    def _named(self, issue: Issue) -> dict[int, float]:
        """Points for the agents whose names stand in the text."""
        found: dict[int, float] = {}
        text = f"{issue.title}\n{issue.body[:READ_CHARACTERS]}".lower()
        for mark, name in _NAMES.findall(text):
            position = self._by_lower_case.get(name)
            if position is not None and (mark or "-" in name):
                found[position] = max(found.get(position, 0.0), MENTION_POINTS if mark else NAMING_POINTS)
        return {position: value / len(found) for position, value in found.items()}

    def _reasons(
        self,
        position: int,
        strengths: dict[str, float],
        terms: Terms,
        neighbours: Sequence[Neighbour],
        named: dict[int, float],
    ) -> list[str]:
        reasons = self._definitions.reasons(position, strengths, terms)
        if position in named:
            reasons.append((named[position], "named in the text"))
        for neighbour in neighbours:
            if neighbour.agent == position:
                title = neighbour.work.title[:60]
                likeness = f"{neighbour.likeness:.0%} alike"
                reasons.append((neighbour.points, f"did #{neighbour.work.number} “{title}” ({likeness})"))
        reasons.sort(key=lambda reason: -reason[0])
        return [f"{text} +{points:.1f}" for points, text in reasons[:REASONS]]

    def _windows(self, history: Sequence[Work]) -> list[list[Ranking]]:
        """Past works as they would be ranked if they came in now, each without itself as evidence."""
        known = [work for work in history if work.agent in self._position][-_WINDOW:]
        different: dict[str, Work] = {}
        for work in reversed(history):  # bots repeat themselves daily; each kind of work counts once
            different.setdefault(re.sub(r"\d+", "", work.title), work)
            if len(different) == _WIDE_WINDOW:
                break
        return [[self._rank(work) for work in window] for window in (known, list(different.values()))]

    def _rank(self, work: Work) -> Ranking:
        terms = self._terms(work.title, work.body, work.labels)
        neighbours = self._past.neighbours(terms.weights, work.number)
        points = self._points(self._definitions.strengths(terms), neighbours, {})
        best = heapq.nlargest(CANDIDATES + 3, enumerate(points), key=lambda item: item[1])
        return [(position, value) for position, value in best if value > 0.0]


class _Order:
    """Most points first; a tie goes by a hash of issue and name, so that twins share the load."""

    def __init__(self, issue: Issue, names: Sequence[str]) -> None:
        self._salt = f"{issue.repository}#{issue.number}\n{issue.title}\n"
        self._names = names

    def _hash(self, position: int) -> bytes:
        text = self._salt + self._names[position]
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def ties(self, points: Sequence[float], position: int) -> list[int]:
        """Who else has the points of `position`."""
        return [
            other for other, value in enumerate(points) if value == points[position] and other != position
        ]

    def best(self, points: Sequence[float]) -> int:
        """The first of all."""
        highest = max(points)
        return min((p for p, value in enumerate(points) if value == highest), key=self._hash)

    def top(self, points: Sequence[float], count: int) -> list[int]:
        """The `count` best that have points at all, or just any three where nobody has."""
        some = [(value, position) for position, value in enumerate(points) if value > 0.0]
        if not some:
            return sorted(range(len(points)), key=self._hash)[:3]
        bar = heapq.nlargest(count, some)[-1][0]  # hash only who could be among them
        shown = sorted((-value, self._hash(position), position) for value, position in some if value >= bar)
        return [position for _, _, position in shown[:count]]


def report(matches: Sequence[Match], issues: Sequence[Issue]) -> list[dict[str, Any]]:
    """What `python -m runner match --json` prints: one object an issue."""
    return [
        {
            "number": issue.number,
            "agent": match.agent,
            "score": match.score,
            "candidates": [{"agent": c.agent, "score": c.score} for c in match.candidates],
            "why": list(match.why),
        }
        for match, issue in zip(matches, issues, strict=True)
    ]


def share_report(matches: Sequence[Match]) -> dict[str, float]:
    """Agent → share, for the agents that take more than 15 % of this window's missions."""
    return over_share(match.agent for match in matches)
