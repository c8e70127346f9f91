"""Issue → the one specialist for it: pure, deterministic and explained.

Scores are points: a word of the title that one definition in twenty has in its description gives about 6, in its
name about 14; a past work that is the same, done just now, gives 45. Below `MINIMUM` nobody is chosen.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from errors import DefinitionError
from runner.agents import Agent
from runner.issue import AGENT_LABEL, Issue
from runner.match.evidence import DECIMALS, Evidence, EvidenceFinder
from runner.match.fair_share import Standing, Window, margins, over_share
from runner.match.history import Work
from runner.match.ranking import Ranking

MINIMUM = 3.0
CANDIDATES = 5
REASONS = 5
_WINDOW = 150  # newest works with a known agent that must come out shared fairly
_WIDE_WINDOW = 300  # newest works of different kinds, known agent or not, that must as well
# The shares aimed at leave room up to 15 %: tomorrow's works differ from the past ones, their proportions even more.
_AIM = 0.12
_WIDE_AIM = 0.10


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
        self._finder = EvidenceFinder(agents, history)
        self._margins = margins(self._windows(history), len(agents), MINIMUM)

    def match(self, issue: Issue) -> Match:
        """The agent for `issue`; a person's `agent:<name>` label decides where that agent exists."""
        evidence = self._finder.find(issue)
        ranking = Ranking(issue, self._names)
        labelled, why = self._labelled(issue)
        if labelled is not None:
            score = max(MINIMUM, *evidence.points)
            return self._answer(labelled, score, evidence.points, ranking, why)

        fair = self._less_margins(evidence)
        first = ranking.best(fair)
        if fair[first] < MINIMUM:
            why.append(f"abstains: the best score {max(fair[first], 0.0):.1f} is below {MINIMUM:g}")
            return self._answer(None, max(fair[first], 0.0), fair, ranking, why)

        strongest = ranking.best(evidence.points)
        if strongest != first:
            why.append(f"{self._names[strongest]} steps back: it has its share of such work already")
        elif twins := ranking.ties(fair, first):
            why.append(f"tie with {', '.join(self._names[twin] for twin in twins[:3])}: spread by issue")
        why.extend(evidence.reasons(first, REASONS))
        return self._answer(first, fair[first], evidence.points, ranking, why)

    def _less_margins(self, evidence: Evidence) -> list[float]:
        """The points less what keeps an agent to its share. Who is asked for by name is not held back."""
        return [
            value if not value or position in evidence.named else value - margin
            for position, (value, margin) in enumerate(zip(evidence.points, self._margins, strict=True))
        ]

    def _answer(
        self, first: int | None, score: float, points: Sequence[float], ranking: Ranking, why: list[str]
    ) -> Match:
        """`first` with `score`, then the others by their points, none above the first."""
        order = ranking.top(points, CANDIDATES)
        if first is not None:
            order = [first, *(position for position in order if position != first)][:CANDIDATES]
        candidates = tuple(
            Candidate(
                self._names[position],
                round(score if position == first else min(max(points[position], 0.0), score), DECIMALS),
            )
            for position in order
        )
        return Match(
            None if first is None else self._names[first], round(score, DECIMALS), candidates, tuple(why)
        )

    def _labelled(self, issue: Issue) -> tuple[int | None, list[str]]:
        """The agent that a label names, if there is such an agent, and what was found about such labels."""
        chosen: int | None = None
        why = []
        for label in sorted(set(issue.labels)):
            if not label.startswith(AGENT_LABEL):
                continue
            position = self._finder.position(label.removeprefix(AGENT_LABEL).strip())
            if position is None:
                why.append(f"label `{label[:60]}` ignored: no such agent")
            elif chosen is None:
                chosen = position
                why.append(f"label `{label}` decides")
            elif position != chosen:
                why.append(f"label `{label}` ignored: one agent works an issue")
        return chosen, why

    def _windows(self, history: Sequence[Work]) -> list[Window]:
        """Past works with their best agents, as if they came in now."""
        known = [work for work in history if work.agent and self._finder.position(work.agent) is not None]
        kinds: dict[str, Work] = {}
        for work in reversed(history):
            kinds.setdefault(re.sub(r"\d+", "", work.title), work)  # bots repeat themselves daily
            if len(kinds) == _WIDE_WINDOW:
                break
        return [
            Window(_AIM, [self._standing(work) for work in known[-_WINDOW:]]),
            Window(_WIDE_AIM, [self._standing(work) for work in kinds.values()]),
        ]

    def _standing(self, work: Work) -> Standing:
        points = self._finder.find(work).points
        best = heapq.nlargest(CANDIDATES + 3, enumerate(points), key=lambda item: item[1])
        return [(position, value) for position, value in best if value > 0.0]


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
