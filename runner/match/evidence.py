"""What speaks for each agent in one issue: the definitions' text, past works, and agents named in the text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from runner.agents import Agent
from runner.issue import Issue
from runner.match.definition_index import DefinitionIndex
from runner.match.history import Work
from runner.match.past_works import Neighbour, PastWorks
from runner.match.terms import READ_CHARACTERS, Terms
from runner.match.vocabulary import shared_vocabulary

MENTION_POINTS = 30.0  # for `@name`, shared out where several agents are mentioned
NAMING_POINTS = 15.0  # for a name of several words without the @
DECIMALS = 2  # points that differ in less are a tie
_NAMES = re.compile(r"(?<![\w@-])(@?)([a-z0-9]+(?:-[a-z0-9]+)*)(?![\w-])")


class Evidence:
    """The evidence in one issue."""

    def __init__(
        self, definitions: DefinitionIndex, terms: Terms, near: list[Neighbour], named: dict[int, float]
    ) -> None:
        self._definitions = definitions
        self._terms = terms
        self._strengths = definitions.strengths(terms)
        self._neighbours = near
        self.named = named
        """Agents that the text names, by position, with the points for it."""
        points = definitions.scores(self._strengths)
        for neighbour in near:
            points[neighbour.agent] += neighbour.points
        for position, value in named.items():
            points[position] += value
        self.points = [round(value, DECIMALS) for value in points]
        """One number per agent, in the agents' order."""

    def reasons(self, position: int, most: int) -> list[str]:
        """The `most` weighty reasons for the agent at `position`, as short texts with their points."""
        reasons = self._definitions.reasons(position, self._strengths, self._terms)
        if position in self.named:
            reasons.append((self.named[position], "named in the text"))
        for near in self._neighbours:
            if near.agent == position:
                title = near.work.title[:60]
                reasons.append(
                    (near.points, f"did #{near.work.number} “{title}” ({near.likeness:.0%} alike)")
                )
        reasons.sort(key=lambda reason: -reason[0])
        return [f"{text} +{points:.1f}" for points, text in reasons[:most]]


class EvidenceFinder:
    """Finds the evidence in issues. `agents` set the positions, `history` comes oldest first."""

    def __init__(self, agents: Sequence[Agent], history: Sequence[Work]) -> None:
        positions = {agent.name: position for position, agent in enumerate(agents)}
        self._by_lower_case = {name.lower(): position for name, position in positions.items()}
        self._vocabulary = shared_vocabulary()
        self._definitions = DefinitionIndex(agents, self._vocabulary)
        self._past = PastWorks(history, positions)

    def find(self, issue: Issue | Work) -> Evidence:
        """The evidence in `issue`; a past work is looked at as if it came in now, without itself as evidence."""
        terms = Terms(issue.title, issue.body, issue.labels, self._vocabulary.phrases)
        neighbours = self._past.neighbours(terms.weights, issue.number)
        return Evidence(self._definitions, terms, neighbours, self._named(issue))

    def position(self, name: str) -> int | None:
        """The place of the agent `name`, in whatever case it is written."""
        return self._by_lower_case.get(name.lower())

    def _named(self, issue: Issue | Work) -> dict[int, float]:
        found: dict[int, float] = {}
        text = f"{issue.title}\n{issue.body[:READ_CHARACTERS]}".lower()
        for mark, name in _NAMES.findall(text):
            position = self.position(name)
            if position is not None and (mark or "-" in name):
                found[position] = max(found.get(position, 0.0), MENTION_POINTS if mark else NAMING_POINTS)
        return _shared_out(found)


def _shared_out(found: Mapping[int, float]) -> dict[int, float]:
    return {position: value / len(found) for position, value in found.items()}
