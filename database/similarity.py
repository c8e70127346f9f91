"""How likely an earlier work is a true match for an issue: full text, vectors and the works' own files together.

A true match is a work that changed a file, or a folder below the second level, that the new one will change too.
Of the new issue only the text is known, of the earlier works the files as well. Six signals of each candidate, all
between 0 and 1 (see `Signals`), go into one logistic function whose weights are data, fitted per embedding model on
real history (`database/calibration.yaml`).

Pure: PostgreSQL picks some dozens of candidates inside the agent's partition, this judges them.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

MAX_TEXT = 8_000  # characters of a body that are compared; what matters stands first
MAX_PATHS = 300  # paths of a candidate that are compared
CACHED = 100  # works whose words are kept for the next comparison: two recalls' worth, some 3 MiB

# Okapi BM25 (Robertson & Zaragoza 2009) with its usual k1; b is low because works that did more say more.
BM25_K1 = 1.2
BM25_B = 0.5

_WORD = re.compile(r"[a-z0-9]+")
_COMPOUND = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An earlier work. `cosine` is that of the embeddings of both works' title and body, None where unknown."""

    title: str
    body: str
    paths: tuple[str, ...]
    created_at: datetime
    cosine: float | None


@dataclass(frozen=True, slots=True)
class Signals:
    """What makes a candidate similar."""

    cosine: float
    """Of the embeddings, 0 where unknown."""
    title: float
    """Share of the new title's words, by rarity, that the candidate holds in its text or paths."""
    rank: float
    """Its BM25 score as a share of the best candidate's."""
    recency: float
    """1 for the newest candidate, 1/2 for the next, and so on."""
    support: float = 0.0
    """Share of the other candidates, by their likelihood, that changed the same files as this one."""
    crowd: float = 0.0
    """How much such evidence there is: 0 none, towards 1 much."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Of a logistic function over Signals."""

    intercept: float = 0.0
    cosine: float = 0.0
    title: float = 0.0
    rank: float = 0.0
    recency: float = 0.0
    support: float = 0.0
    crowd: float = 0.0

    def chance(self, signals: Signals) -> float:
        """From 0 to 1."""
        weighed = (
            self.intercept
            + self.cosine * signals.cosine
            + self.title * signals.title
            + self.rank * signals.rank
            + self.recency * signals.recency
            + self.support * signals.support
            + self.crowd * signals.crowd
        )
        return 1 / (1 + math.exp(-weighed))


@dataclass(frozen=True, slots=True)
class Calibration:
    """`alone` judges a candidate without the others and so weighs its evidence; `together` gives the similarity."""

    alone: Weights
    together: Weights


@dataclass(frozen=True, slots=True)
class Similarity:
    """`chance` of a true match from 0 to 1, and what it rests on."""

    chance: float
    signals: Signals
    words: tuple[str, ...]
    """Words of the new title that the candidate holds, the rarest first."""

    def why(self) -> str:
        """In words, for people."""
        parts = [f"shares {', '.join(self.words[:5])}"] if self.words else []
        if self.signals.cosine:
            parts.append(f"cosine {self.signals.cosine:.2f}")
        if self.signals.support >= 0.1:
            parts.append(f"{self.signals.support:.0%} of what else is similar changed the same files")
        return "; ".join(parts) or "nothing in common"


def score(
    title: str, body: str, candidates: Sequence[Candidate], calibration: Calibration
) -> list[Similarity]:
    """The similarity of each candidate to an issue, in the order of the candidates."""
    texts = _Texts(title, body, candidates)
    signals = texts.signals()
    chances = [calibration.alone.chance(each) for each in signals]
    signals = with_support(signals, chances, [landmarks(candidate.paths) for candidate in candidates])
    return [
        Similarity(calibration.together.chance(each), each, texts.shared_title_words(index))
        for index, each in enumerate(signals)
    ]


def landmarks(paths: Collection[str]) -> frozenset[str]:
    """The files, and their folders below the second level: works that share one are true matches."""
    marks = set()
    for path in paths:
        marks.add(path)
        folders = path.split("/")[:-1]
        marks.update("/".join(folders[:depth]) + "/" for depth in range(3, len(folders) + 1))
    return frozenset(marks)


def text_signals(title: str, body: str, candidates: Sequence[Candidate]) -> list[Signals]:
    """Each candidate's signals without `support` and `crowd`."""
    return _Texts(title, body, candidates).signals()


def with_support(
    signals: Sequence[Signals], chances: Sequence[float], marks: Sequence[frozenset[str]]
) -> list[Signals]:
    """The signals with `support` and `crowd`: similar works that changed the same files back each other up.

    A series of look-alikes that each wrote files of its own loses by it. `chances` are those of `alone`. A work
    whose files are unknown (no marks) neither gives nor gets evidence.
    """
    # Squared, so that many faint resemblances do not add up to a strong one.
    evidence = [chance**2 if mark else 0.0 for chance, mark in zip(chances, marks, strict=True)]
    backing = [0.0] * len(signals)
    for one in range(len(signals)):
        for other in range(one):
            if not marks[one].isdisjoint(marks[other]):
                backing[one] += evidence[other]
                backing[other] += evidence[one]
    total = sum(evidence)
    # Half a work is added that shares nothing: a single neighbour proves little.
    others = [total - each + 0.5 for each in evidence]
    return [
        replace(each, support=backed / other, crowd=1 - 0.5 / other) if mark else each
        for each, backed, other, mark in zip(signals, backing, others, marks, strict=True)
    ]


class _Texts:
    """Word statistics of one comparison."""

    def __init__(self, title: str, body: str, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates
        self._title = list(dict.fromkeys(words(title)))
        self._query = dict.fromkeys(words(f"{title} {body[:MAX_TEXT]}"))
        self._documents = [_document(each.title, each.body, each.paths) for each in candidates]
        self._shared = [self._query.keys() & counts.keys() for counts in self._documents]
        holders = Counter(word for shared in self._shared for word in shared)
        # The new issue counts as one more text that holds its words, so that a word nobody else has weighs most.
        self._rarity = {
            word: math.log((len(candidates) + 1.5) / (holders[word] + 0.5)) for word in self._query
        }
        self._title.sort(key=lambda word: -self._rarity[word])

    def signals(self) -> list[Signals]:
        scores = self._bm25()
        best = max(scores, default=0.0) or 1.0
        title = sum(self._rarity[word] for word in self._title) or 1.0
        ages = sorted(candidate.created_at for candidate in self._candidates)
        return [
            Signals(
                cosine=max(0.0, candidate.cosine or 0.0),
                title=sum(self._rarity[word] for word in self._title if word in shared) / title,
                rank=value / best,
                recency=1 / (len(ages) - bisect_left(ages, candidate.created_at)),
            )
            for candidate, shared, value in zip(self._candidates, self._shared, scores, strict=True)
        ]

    def shared_title_words(self, index: int) -> tuple[str, ...]:
        return tuple(word for word in self._title if word in self._shared[index])

    def _bm25(self) -> list[float]:
        """Without the constant factor (k1 + 1): only shares of the best score count."""
        rarity = self._rarity
        lengths = [counts.total() for counts in self._documents]
        usual = sum(lengths) / len(lengths) if any(lengths) else 1.0
        scores = []
        for counts, shared, length in zip(self._documents, self._shared, lengths, strict=True):
            damping = BM25_K1 * (1 - BM25_B + BM25_B * length / usual)
            parts = [rarity[word] * (count := counts[word]) / (count + damping) for word in shared]
            scores.append(math.fsum(parts))  # which rounds once: a set has no order that could be relied on
        return scores


def words(text: str) -> list[str]:
    """The words and numbers of a text, lower-case; of `agent-spawner` or `agent_spawner` also the whole."""
    text = text.lower()
    return _WORD.findall(text) + [compound.replace("_", "-") for compound in _COMPOUND.findall(text)]


@lru_cache(maxsize=CACHED)
def _document(title: str, body: str, paths: tuple[str, ...]) -> Counter[str]:
    counts = Counter(words(f"{title} {body[:MAX_TEXT]}"))
    counts.update(set(words(" ".join(paths[:MAX_PATHS]))))  # a word of the paths counts once more
    return counts
