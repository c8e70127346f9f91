"""`python -m bench.relevance --history FILE [--json]`: does recall find the right earlier works, and only those?

FILE is what `gh pr list --state merged --json number,title,body,labels,files,mergedAt` prints. In time order, each
work of an agent with at least ten is compared with all earlier ones of that agent; a true match shares a changed
file or a folder below the second level. Of the new work title and body are known, of earlier ones the files too.
`works` counts the works, `possible` those with a true match among the earlier ones, on which `first` and `mrr` rest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.bm25 import bm25
from bench.judge import Judgement, judge
from database.calibrate import Array, Comparison, by_agent, compare, text_to_embed
from database.calibration import calibration_for
from database.embeddings import EmbeddingSettings, open_embedder
from database.memory import THRESHOLD
from database.similarity import score
from errors import AgentsCloudError, HistoryError
from runner.match.history import Work, load_history

SEED = 4
SHUFFLES = 20  # the figures of `random` are means over so many

Scores = list[list[float]]


async def relevance(works: Sequence[Work]) -> dict[str, Any]:
    """The figures of every method."""
    groups = by_agent(works)
    vectors = await embed(works, sorted(index for group in groups for index in group))
    comparisons = compare(works, vectors, groups)
    if not any(any(each.related) for each in comparisons):
        raise HistoryError("no agent has ten works of which two share files", "give a longer history")
    calibration = calibration_for("minilm", 384)
    methods = {
        "ours": judge(
            comparisons,
            _each(
                comparisons, lambda c: [s.chance for s in score(c.title, c.body, c.candidates, calibration)]
            ),
            THRESHOLD,
        ),
        "bm25": judge(comparisons, _each(comparisons, bm25)),
        "cosine": judge(comparisons, _each(comparisons, _cosines), THRESHOLD),
        "latest": judge(
            comparisons, _each(comparisons, lambda c: [float(n) for n in range(len(c.candidates))])
        ),
        "random": _random(comparisons),
    }
    return {
        "works": sum(map(len, groups)),
        "possible": sum(any(each.related) for each in comparisons),
        "threshold": THRESHOLD,
        "methods": {name: asdict(found) for name, found in methods.items()},
    }


async def embed(works: Sequence[Work], wanted: Sequence[int]) -> Array:
    """MiniLM's vector of each wanted work, zeros for the others."""
    embedder = await open_embedder(EmbeddingSettings())
    try:
        found = await embedder.embed([text_to_embed(works[index]) for index in wanted])
    finally:
        await embedder.close()
    vectors = np.zeros((len(works), embedder.dimension))
    for index, vector in zip(wanted, found, strict=True):
        vectors[index] = vector
    return vectors


def _each(comparisons: Sequence[Comparison], method: Callable[[Comparison], list[float]]) -> Scores:
    return [method(comparison) for comparison in comparisons]


def _cosines(comparison: Comparison) -> list[float]:
    return [candidate.cosine or 0.0 for candidate in comparison.candidates]


def _random(comparisons: Sequence[Comparison]) -> Judgement:
    dice = random.Random(SEED)
    found = [judge(comparisons, _each(comparisons, lambda c: _dice(dice, c))) for _ in range(SHUFFLES)]
    return Judgement(
        first=round(statistics.mean(each.first for each in found), 4),
        mrr=round(statistics.mean(each.mrr for each in found), 4),
    )


def _dice(dice: random.Random, comparison: Comparison) -> list[float]:
    return [dice.random() for _ in comparison.candidates]


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{figures['works']} works of agents with ten or more, {figures['possible']} with a related earlier work;"
        f" threshold {figures['threshold']}",
        f"{'method':8}{'first':>8}{'MRR':>8}{'precision':>11}{'found':>8}{'precision of ≤5':>17}{'answered':>10}",
    ]
    for name, found in figures["methods"].items():
        values = (f"{value:.2f}" if value is not None else "-" for value in found.values())
        widths = (8, 8, 11, 8, 17, 10)
        lines.append(
            f"{name:8}" + "".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.relevance", description=__doc__)
    parser.add_argument("--history", type=Path, required=True, help="JSON that `gh pr list` printed")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        figures = asyncio.run(relevance([work for work in load_history(options.history) if work.merged_at]))
    except AgentsCloudError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(figures) if options.json else table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
