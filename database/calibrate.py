"""Fits the weights of `database.similarity` on earlier history and judges them on later.

Labels come from the history itself: two works are a true match when they share a changed file or a folder below
the second level (`similarity.landmarks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from database.similarity import (
    Calibration,
    Candidate,
    Signals,
    Weights,
    landmarks,
    text_signals,
    with_support,
)

MIN_WORKS = 10  # of an agent, before its works are compared with each other
DEALT_WORKS = 60  # works without an agent are dealt into groups of about this size, as if each were one
RIDGE = 1.0  # L2 penalty on the weights
MOST_STEPS = 50  # about eight are needed

Array = np.ndarray[Any, np.dtype[np.float64]]

_ALONE = ("cosine", "title")
_TOGETHER = ("cosine", "title", "rank", "recency", "support", "crowd")


class Work(Protocol):
    """A finished piece of work; `merged_at` is ISO 8601 in UTC."""

    @property
    def agent(self) -> str | None: ...
    @property
    def title(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def files(self) -> tuple[str, ...]: ...
    @property
    def merged_at(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """One work, all earlier works of the same agent oldest first, and which of those are true matches."""

    title: str
    body: str
    merged_at: str
    candidates: tuple[Candidate, ...]
    marks: tuple[frozenset[str], ...]
    related: tuple[bool, ...]


def text_to_embed(work: Work) -> str:
    """What the cosine compares: of a finished work, too, only what its issue said."""
    return f"{work.title}\n{work.body}"


def by_agent(works: Sequence[Work]) -> list[list[int]]:
    """Indices of the works of each agent that has at least MIN_WORKS."""
    counts = Counter(work.agent for work in works if work.agent)
    agents = sorted(agent for agent, count in counts.items() if count >= MIN_WORKS)
    return [[index for index, work in enumerate(works) if work.agent == agent] for agent in agents]


def dealt(works: Sequence[Work]) -> list[list[int]]:
    """Indices of the works without an agent, dealt out like cards."""
    rest = [index for index, work in enumerate(works) if not work.agent]
    groups = max(1, len(rest) // DEALT_WORKS)
    return [rest[first::groups] for first in range(groups)]


def compare(
    works: Sequence[Work], vectors: Array | None, groups: Sequence[Sequence[int]]
) -> list[Comparison]:
    """Every work of each group against all earlier ones of it. `works` stand in time order."""
    marks = [landmarks(work.files) for work in works]
    comparisons = []
    for group in groups:
        for place in range(1, len(group)):
            index, earlier = group[place], group[:place]
            cosines = [None] * place if vectors is None else (vectors[earlier] @ vectors[index]).tolist()
            candidates = (
                Candidate(work.title, work.body, work.files, datetime.fromisoformat(work.merged_at), cosine)
                for work, cosine in zip((works[other] for other in earlier), cosines, strict=True)
            )
            comparisons.append(
                Comparison(
                    title=works[index].title,
                    body=works[index].body,
                    merged_at=works[index].merged_at,
                    candidates=tuple(candidates),
                    marks=tuple(marks[other] for other in earlier),
                    related=tuple(not marks[index].isdisjoint(marks[other]) for other in earlier),
                )
            )
    return comparisons


def fit(comparisons: Sequence[Comparison]) -> Calibration:
    """Weights by penalised likelihood of the pairs. The same history gives the same weights."""
    signals = [text_signals(each.title, each.body, each.candidates) for each in comparisons]
    related = np.array([hit for each in comparisons for hit in each.related], dtype=np.float64)
    alone = _fit_weights(_ALONE, signals, related)
    supported = [
        with_support(each, [alone.chance(signal) for signal in each], comparison.marks)
        for each, comparison in zip(signals, comparisons, strict=True)
    ]
    return Calibration(alone, _fit_weights(_TOGETHER, supported, related))


def _fit_weights(names: Sequence[str], signals: Sequence[Sequence[Signals]], related: Array) -> Weights:
    """The penalty makes for a good order but draws every chance to the middle; Platt scaling takes that back."""
    pairs = np.array([[1.0, *(getattr(pair, name) for name in names)] for each in signals for pair in each])
    weights = _logistic_regression(pairs, related, RIDGE)
    shift, scale = _logistic_regression(np.column_stack([np.ones(len(pairs)), pairs @ weights]), related, 0.0)
    weights = scale * weights
    weights[0] += shift
    rounded = [round(float(weight), 3) for weight in weights]
    return Weights(**dict(zip(("intercept", *names), rounded, strict=True)))


def _logistic_regression(pairs: Array, related: Array, ridge: float) -> Array:
    """Newton's method; the first column is the intercept, which goes free of the penalty."""
    weights = np.zeros(pairs.shape[1])
    penalty = np.diag([0.0, *[ridge] * (len(weights) - 1)])
    for _ in range(MOST_STEPS):
        chances = 1 / (1 + np.exp(-pairs @ weights))
        gradient = pairs.T @ (chances - related) + penalty @ weights
        hessian = (pairs.T * (chances * (1 - chances))) @ pairs + penalty
        step = np.linalg.solve(hessian, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def as_data(calibration: Calibration) -> Mapping[str, Mapping[str, float]]:
    """As it stands in calibration.yaml; weights of 0 are left out."""
    return {
        part: {name: value for name, value in asdict(weights).items() if value}
        for part, weights in (("alone", calibration.alone), ("together", calibration.together))
    }
