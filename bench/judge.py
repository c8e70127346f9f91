"""Judges an order of earlier works, and a chance for each, against which of them were true matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from database.calibrate import Comparison

RETURNED = 5  # works that a recall gives at most


@dataclass(frozen=True, slots=True)
class Judgement:
    """Shares from 0 to 1. The last four are None for a method whose scores are no chances."""

    first: float
    """Of the works with a true match, those where the first answer is one."""
    mrr: float
    """Over the same works, the mean of 1 / place of the first true match among the five answers, else 0."""
    precision_at_threshold: float | None = None
    """Of the earlier works at or above the threshold, those that are true matches."""
    found_at_threshold: float | None = None
    """Of all true matches, those at or above the threshold."""
    precision_of_answers: float | None = None
    """The same precision over the at most five works that a recall would give."""
    works_answered: float | None = None
    """Of the works with a true match, those that a recall would give at least one."""


def judge(
    comparisons: Sequence[Comparison], scores: Sequence[Sequence[float]], threshold: float | None = None
) -> Judgement:
    """`scores` holds one number per candidate of each comparison; of equal ones the newer work comes first."""
    places = []
    above = above_true = true = answers = answers_true = answered = 0
    for comparison, values in zip(comparisons, scores, strict=True):
        related = comparison.related
        order = sorted(range(len(values)), key=lambda index: (-values[index], -index))[:RETURNED]
        if any(related):
            places.append(next((place for place, index in enumerate(order, 1) if related[index]), 0))
        if threshold is None:
            continue
        given = [index for index in order if values[index] >= threshold]
        chosen = [hit for hit, value in zip(related, values, strict=True) if value >= threshold]
        above, above_true, true = above + len(chosen), above_true + sum(chosen), true + sum(related)
        answers, answers_true = answers + len(given), answers_true + sum(related[index] for index in given)
        answered += any(related[index] for index in given)
    first = _share(places.count(1), len(places))
    mrr = _share(sum(1 / place for place in places if place), len(places))
    if threshold is None:
        return Judgement(first, mrr)
    return Judgement(
        first,
        mrr,
        _share(above_true, above),
        _share(above_true, true),
        _share(answers_true, answers),
        _share(answered, len(places)),
    )


def _share(part: float, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
