"""What all contenders store and are asked for: vectors, agents, verdicts, questions and the exact answers.

Only numpy and the standard library: the peers' environment reads it too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import numpy as np

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]

Kind = Literal["independent", "correlated", "text"]
DIMENSION = 384
NEAREST = 5
ZIPF = 1.1  # exponent of the agents' sizes
FAILURES = 0.1
TOPICS = 200
SPREAD = 0.7  # length of the noise beside a topic's unit vector


@dataclass(frozen=True, slots=True)
class Size:
    """How much is stored. `asking`: of how many agents questions come, which bounds our connections."""

    agents: int
    each: int
    asking: int

    @property
    def rows(self) -> int:
        return self.agents * self.each


# `tiny` tries the benchmark itself.
SIZES = {
    "tiny": Size(4, 1_500, 4),
    "S": Size(66, 1_000, 66),
    "M": Size(66, 10_000, 66),
    "L": Size(1_000, 1_000, 100),
}
TEXT = Size(66, 1_000, 66)  # real texts through MiniLM: embedding them takes some ten minutes


@dataclass(frozen=True, slots=True)
class Corpus:
    """`agent` and `success` of each row; row numbers start at 0 and name a memory (`row_id`)."""

    kind: Kind
    names: Sequence[str]
    titles: Sequence[str]
    """Of each row; made up where empty."""
    asked: Sequence[str]
    """The title of each question; made up where empty."""
    vectors: Vectors
    agent: Numbers
    success: np.ndarray[Any, np.dtype[np.bool_]]
    questions: Vectors
    asker: Numbers
    answers: Numbers
    """The nearest successes of the asker, by row, -1 where it has fewer."""

    def title(self, row: int) -> str:
        return self.titles[row] if self.titles else _made_up_title(f"memory {row}")

    def question(self, number: int) -> str:
        return self.asked[number] if self.asked else _made_up_title(f"question {number}")

    def save(self, folder: Path) -> None:
        for name in ("vectors", "agent", "success", "questions", "asker", "answers"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        text = {"kind": self.kind, "names": self.names, "titles": self.titles, "asked": self.asked}
        (folder / "corpus.json").write_text(json.dumps(text))

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("vectors", "agent", "success", "questions", "asker", "answers")
        }
        return cls(**json.loads((folder / "corpus.json").read_text()), **arrays)


def row_id(row: int) -> UUID:
    """The id of a memory, whoever stores it."""
    return UUID(int=row + 1)


def row_of(memory: str) -> int:
    """The row of an id."""
    return UUID(memory).int - 1


def made_up(kind: Kind, size: Size, seed: int, questions: int) -> Corpus:
    """Vectors around topics: shared by all agents (`independent`), or with each agent in a region of its own."""
    chance = np.random.default_rng(seed)
    agent = _owners(size, chance)
    topics = _unit(chance.standard_normal((TOPICS, DIMENSION)))
    homes = _unit(chance.standard_normal((size.agents, DIMENSION))) if kind == "correlated" else None
    asker = _askers(agent, size, questions, chance)
    return _finish(
        kind,
        size,
        [],
        [],
        _draw(agent, topics, homes, chance),
        agent,
        _draw(asker, topics, homes, chance),
        asker,
        chance,
    )


def from_texts(vectors: Vectors, titles: Sequence[str], seed: int, questions: int) -> Corpus:
    """Real texts dealt to agents; some of them, kept out, are the questions."""
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(titles))
    asked, kept = order[:questions], order[questions:]
    size = Size(TEXT.agents, len(kept) // TEXT.agents, TEXT.asking)
    kept = kept[: size.rows]
    agent = _owners(size, chance)
    asker = _askers(agent, size, questions, chance)
    return _finish(
        "text",
        size,
        [titles[row] for row in kept],
        [titles[row] for row in asked],
        vectors[kept],
        agent,
        vectors[asked],
        asker,
        chance,
    )


_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_WORDS = [one + other for one in _SYLLABLES for other in _SYLLABLES][:2_000]
_OFTEN = list(accumulate(1 / place for place in range(1, len(_WORDS) + 1)))  # by Zipf's law, too


def _made_up_title(of: str) -> str:
    """Eight words, as many as real titles have, always the same of the same."""
    return " ".join(random.Random(of).choices(_WORDS, cum_weights=_OFTEN, k=8))


def _owners(size: Size, chance: np.random.Generator) -> Numbers:
    """The agent of each row: sizes follow Zipf's law, every agent has some, and rows come in no order."""
    weights = 1 / np.arange(1, size.agents + 1) ** ZIPF
    counts = np.maximum(10, (weights / weights.sum() * size.rows)).astype(int)
    counts[0] += size.rows - counts.sum()
    return chance.permutation(np.repeat(np.arange(size.agents), counts))


def _askers(agent: Numbers, size: Size, questions: int, chance: np.random.Generator) -> Numbers:
    """Who asks: agents with more memory ask more often."""
    asking = chance.choice(size.agents, size.asking, replace=False)
    weights = np.bincount(agent, minlength=size.agents)[asking].astype(float)
    return chance.choice(asking, questions, p=weights / weights.sum())


def _draw(owner: Numbers, topics: Vectors, homes: Vectors | None, chance: np.random.Generator) -> Vectors:
    drawn = np.empty((len(owner), DIMENSION), dtype=np.float32)
    for start in range(0, len(owner), 50_000):
        part = owner[start : start + 50_000]
        noise = chance.standard_normal((len(part), DIMENSION)) * (SPREAD / DIMENSION**0.5)
        about = topics[chance.integers(0, TOPICS, len(part))] + (0 if homes is None else homes[part])
        drawn[start : start + len(part)] = _unit(about + noise)
    return drawn


def _finish(
    kind: Kind,
    size: Size,
    titles: list[str],
    asked: list[str],
    vectors: Vectors,
    agent: Numbers,
    questions: Vectors,
    asker: Numbers,
    chance: np.random.Generator,
) -> Corpus:
    success = chance.random(len(agent)) >= FAILURES
    answers = _exact(vectors, agent, success, questions, asker)
    names = [f"bench-{number:04}" for number in range(size.agents)]
    return Corpus(kind, names, titles, asked, vectors, agent, success, questions, asker, answers)


def _exact(
    vectors: Vectors,
    agent: Numbers,
    success: np.ndarray[Any, np.dtype[np.bool_]],
    questions: Vectors,
    asker: Numbers,
) -> Numbers:
    answers = np.full((len(questions), NEAREST), -1)
    for each in np.unique(asker):
        rows = np.flatnonzero((agent == each) & success)
        asked = np.flatnonzero(asker == each)
        near = np.argsort(-(questions[asked] @ vectors[rows].T), axis=1)[:, :NEAREST]
        answers[asked, : near.shape[1]] = rows[near]
    return answers


def _unit(vectors: np.ndarray[Any, Any]) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return unit
