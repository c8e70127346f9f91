"""What was answered, judged against the exact answers. Standard library and numpy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.memory.corpus import Corpus


@dataclass(frozen=True, slots=True)
class Judged:
    """Over all answers."""

    recall: float
    """Share of the exact nearest that were answered."""
    empty: int
    short: int
    """Fewer answers than there were successes to give."""
    leaks: int
    """Answers that belong to another agent, or are failures."""


def judge(corpus: Corpus, answers: Iterable[tuple[int, Sequence[int]]]) -> Judged:
    """`answers`: questions, which may come again, each with the rows that were found."""
    right = possible = empty = short = leaks = 0
    for question, rows in answers:
        exact = [int(row) for row in corpus.answers[question] if row >= 0]
        own = [row for row in rows if corpus.agent[row] == corpus.asker[question] and corpus.success[row]]
        if exact:
            asked = corpus.questions[question]
            # Of two that are equally near either is right, to the precision of single floats.
            enough = min(corpus.vectors[exact] @ asked) - 1e-5
            right += sum(float(corpus.vectors[row] @ asked) >= enough for row in set(own))
        possible += len(exact)
        empty += bool(exact) and not rows
        short += len(rows) < len(exact)
        leaks += len(rows) - len(own)
    return Judged(round(float(right) / max(1, possible), 4), empty, short, leaks)


def milliseconds(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile in milliseconds."""
    p50, p99 = np.percentile(np.asarray(seconds) * 1000, (50, 99))
    return round(float(p50), 3), round(float(p99), 3)
