"""Plain full text as a peer of our recall: Okapi BM25 over title and body."""

from __future__ import annotations

import math
import re
from collections import Counter

from database.calibrate import Comparison

K1 = 1.5  # the values of rank_bm25 0.2.2, a usual choice
B = 0.75

_WORD = re.compile(r"[a-z0-9]+")


def bm25(comparison: Comparison) -> list[float]:
    """The score of each candidate for the work's title and body."""
    query = set(_words(f"{comparison.title} {comparison.body}"))
    documents = [Counter(_words(f"{each.title} {each.body}")) for each in comparison.candidates]
    holders = Counter(word for counts in documents for word in counts)
    usual = sum(sum(counts.values()) for counts in documents) / len(documents) or 1.0
    scores = []
    for counts in documents:
        damping = K1 * (1 - B + B * sum(counts.values()) / usual)
        scores.append(
            sum(
                math.log(1 + (len(documents) - holders[word] + 0.5) / (holders[word] + 0.5))
                * counts[word] * (K1 + 1) / (counts[word] + damping)
                for word in query
                if word in counts
            )
        )  # fmt: skip
    return scores


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
