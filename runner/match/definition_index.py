"""How well an issue's terms fit each definition's own text: an inverted index from term to agents."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from runner.agents import Agent
from runner.match.terms import Terms, words
from runner.match.vocabulary import Vocabulary

# Points per nat of rarity (idf) for a term of the title, by the place where the definition has the term.
# Names and descriptions are written to tell agents apart; prose is long and mostly about manners.
PLACES = {"text": 0.3, "responsibilities": 0.5, "description": 2.0, "name": 5.0}
FIELD_FACTOR = 0.5  # a shared field of work counts this much of a shared word
FIELD_PLACES = ("description", "name")  # prose touches every field
FIELD_SATURATION = 2.0  # terms of one field after which more of them add nothing
RAREST_FIELD = 0.15  # share of definitions; else the only definition that names a field would take it all
CARE = 1.1
BOILERPLATE_SHARE = 0.35  # a line or term in more of the definitions tells nobody apart
FEWEST_FOR_RARITY = 20  # below this many definitions rarity is reckoned as among this many

_PERSONA = re.compile(r"Inspired by\b.*?(?:\.(?=\s|$)|$)", re.DOTALL)  # manners, not a specialisation
_FIELD = "~"  # begins a field of work in the index; no word begins so


class Entry(NamedTuple):
    """A term of a definition."""

    points: float
    place: str


class DefinitionIndex:
    """Scores agents by their definitions. Immutable once built."""

    def __init__(self, agents: Sequence[Agent], vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.size = len(agents)
        boilerplate = _boilerplate_lines(agents)
        profiles = [_profile(agent, boilerplate, vocabulary) for agent in agents]
        frequency = Counter(term for profile in profiles for term in profile)
        care = _care(
            [sum(1 for term in profile if frequency[term] <= len(agents) / 2) for profile in profiles]
        )
        self._profiles: list[dict[str, Entry]] = []
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for position, (profile, factor) in enumerate(zip(profiles, care, strict=True)):
            entries: dict[str, Entry] = {}
            for term, (weight, place) in profile.items():
                if points := factor * weight * self._rarity(term, frequency[term]):
                    entries[term] = Entry(points, place)
                    self._postings[term].append((position, points))
            self._profiles.append(entries)

    def _rarity(self, term: str, frequency: float) -> float:
        size = max(self.size, FEWEST_FOR_RARITY)
        if term.startswith(_FIELD):
            frequency = max(frequency, RAREST_FIELD * size)
        elif frequency > BOILERPLATE_SHARE * size:
            return 0.0
        return max(0.0, math.log((size + 1) / (frequency + 0.5)))

    def strengths(self, terms: Terms) -> dict[str, float]:
        """The issue's terms and fields of work with their weights."""
        strengths = dict(terms.weights)
        for field, touching in self.vocabulary.fields(terms.weights).items():
            total = sum(terms.weights[term] for term in touching)
            strengths[_FIELD + field] = min(total, FIELD_SATURATION) / (FIELD_SATURATION - 0.5)
        return strengths

    def scores(self, strengths: Mapping[str, float]) -> list[float]:
        """Points per agent, in the agents' order."""
        scores = [0.0] * self.size
        for term, strength in strengths.items():
            for position, points in self._postings.get(term, ()):
                scores[position] += strength * points
        return scores

    def breadth(self, position: int) -> int:
        """How many fields of work the definition at `position` claims."""
        return sum(1 for term in self._profiles[position] if term.startswith(_FIELD))

    def reasons(self, position: int, strengths: Mapping[str, float], terms: Terms) -> list[tuple[float, str]]:
        """(points, what spoke for the agent at `position`), most points first."""
        found = []
        for term, strength in strengths.items():
            if entry := self._profiles[position].get(term):
                found.append((strength * entry.points, f"{self._spoken(term, terms)} in its {entry.place}"))
        return sorted(found, key=lambda reason: (-reason[0], reason[1]))

    def _spoken(self, term: str, terms: Terms) -> str:
        if not term.startswith(_FIELD):
            return f"word `{terms.spoken[term]}`"
        field = term.removeprefix(_FIELD)
        touching = self.vocabulary.fields(terms.weights)[field]
        return f"field {field} (`{'`, `'.join(terms.spoken[term] for term in touching[:3])}`)"


def _care(own_terms: Sequence[int]) -> list[float]:
    """A factor per definition: who says twice as much of its own as usual counts `CARE` times as much.

    Definitions that are copied from a template and never touched again say little; those that do the work are kept
    up. In whole doublings, so that look-alikes of nearly one length stay equal and share the load.
    """
    usual = max(1.0, statistics.median(own_terms))
    return [CARE ** round(math.log2(max(own, 1) / usual)) for own in own_terms]


def _boilerplate_lines(agents: Sequence[Agent]) -> frozenset[str]:
    counts = Counter(line for agent in agents for line in set(agent.body.split("\n")))
    limit = max(2.0, BOILERPLATE_SHARE * len(agents))
    return frozenset(line for line, count in counts.items() if count > limit)


def _profile(
    agent: Agent, boilerplate: frozenset[str], vocabulary: Vocabulary
) -> dict[str, tuple[float, str]]:
    """The terms and fields of a definition, each with the weight and name of the weightiest place it stands in."""
    profile: dict[str, tuple[float, str]] = {}
    for place, text in _texts(agent, boilerplate):
        read = Terms(phrases=vocabulary.phrases)
        read.add(words(text), PLACES[place])
        for term, weight in read.weights.items():
            if not term.startswith("#"):
                profile[term] = (weight, place)
        if place in FIELD_PLACES:
            for field in vocabulary.fields(read.weights):
                profile[_FIELD + field] = (PLACES[place] * FIELD_FACTOR, place)
    return profile


def _texts(agent: Agent, boilerplate: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(place, text), the weightiest place last."""
    own_lines = "\n".join(line for line in agent.body.split("\n") if line not in boilerplate)
    yield "text", f"{own_lines}\n{agent.description}"
    yield "responsibilities", "\n".join((*agent.responsibilities, *agent.tools))
    yield "description", _PERSONA.sub(" ", agent.description)
    yield "name", f"{agent.name} {agent.specialization}".replace("-", " ")
