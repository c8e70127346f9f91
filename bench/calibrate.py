"""`python -m bench.calibrate --history FILE [--write]`: fits the similarity of one embedding model.

The earlier half of the history (by time) fits, the later half judges: precision and recall at the threshold, and
how often works of each stated chance were true matches. The model is that of EMBEDDING_MODEL, or full text alone
with `--text`. `--write` puts the weights into database/calibration.yaml and the reliability plot into docs/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.judge import judge
from bench.reliability import Bin, plot, reliability
from database.calibrate import Array, Comparison, as_data, by_agent, compare, dealt, fit, text_to_embed
from database.calibration import FILE, TEXT_ALONE, calibration_key
from database.embeddings import EmbeddingSettings, open_embedder
from database.memory import THRESHOLD
from database.similarity import score
from errors import AgentsCloudError, HistoryError
from runner.match.history import Work, load_history

DOCS = Path(__file__).resolve().parent.parent / "docs"
HEADER = "# Written by `python -m bench.calibrate --write`; what the weights mean: similarity.py.\n"


async def embed_all(works: Sequence[Work], settings: EmbeddingSettings) -> tuple[str, Array]:
    """The entry's name in calibration.yaml and a vector per work."""
    embedder = await open_embedder(settings)
    try:
        vectors = np.array(await embedder.embed([text_to_embed(work) for work in works]))
    finally:
        await embedder.close()
    return calibration_key(embedder.model, embedder.dimension), vectors


def calibrate(works: Sequence[Work], vectors: Array | None, source: str) -> tuple[dict[str, Any], list[Bin]]:
    """An entry of calibration.yaml, and the reliability of its chances in the later half."""
    middle = works[len(works) // 2].merged_at
    agents, groups = compare(works, vectors, by_agent(works)), compare(works, vectors, dealt(works))
    earlier = [each for each in (*agents, *groups) if each.merged_at < middle]
    later = [each for each in agents if each.merged_at >= middle]
    later_dealt = [each for each in groups if each.merged_at >= middle]
    if not any(any(each.related) for each in earlier) or not any(any(each.related) for each in later):
        raise HistoryError("one half of it has no two works that share files", "give a longer history")
    calibration = fit(earlier)

    def chances(comparisons: Sequence[Comparison]) -> list[list[float]]:
        return [[s.chance for s in score(c.title, c.body, c.candidates, calibration)] for c in comparisons]

    def judged(comparisons: Sequence[Comparison]) -> dict[str, Any]:
        return {"pairs": pairs(comparisons), **asdict(judge(comparisons, chances(comparisons), THRESHOLD))}

    entry = {
        "source": source,
        "fitted_on": {"until": middle, "pairs": pairs(earlier), "base_rate": base_rate(earlier)},
        "judged_on_later_works": {
            "threshold": THRESHOLD,
            "of_agents": judged(later),
            "without_agent": judged(later_dealt),
        },
        **as_data(calibration),
    }
    both = [*later, *later_dealt]
    return entry, reliability(both, chances(both))


def pairs(comparisons: Sequence[Comparison]) -> int:
    """How many pairs of works were compared."""
    return sum(len(each.related) for each in comparisons)


def base_rate(comparisons: Sequence[Comparison]) -> float:
    """The share of pairs that are true matches."""
    return round(sum(sum(each.related) for each in comparisons) / pairs(comparisons), 4)


def write(key: str, entry: Mapping[str, Any], bins: Sequence[Bin]) -> None:
    """Replace one entry of calibration.yaml and its plot."""
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    entries[key] = entry
    FILE.write_text(HEADER + yaml.safe_dump(entries, sort_keys=False), encoding="utf-8")
    name = f"similarity-{key.replace(':', '-')}.svg"
    (DOCS / name).write_text(plot(key, bins), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, judge, print and perhaps write; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate", description=__doc__)
    parser.add_argument("--history", type=Path, required=True, help="JSON that `gh pr list` printed")
    parser.add_argument("--zone", choices=("US", "EU"), default="US", help="whose endpoints may be asked")
    parser.add_argument("--text", action="store_true", help="full text alone, without an embedding model")
    parser.add_argument("--write", action="store_true", help="write calibration.yaml and the plot")
    options = parser.parse_args(arguments)
    try:
        works = [work for work in load_history(options.history) if work.merged_at]
        key, vectors = TEXT_ALONE, None
        if not options.text:
            settings = EmbeddingSettings.from_environment(os.environ, options.zone)
            key, vectors = asyncio.run(embed_all(works, settings))
        entry, bins = calibrate(works, vectors, f"{len(works)} works of {options.history.name}")
    except AgentsCloudError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps({key: entry, "reliability": [asdict(each) for each in bins]}, indent=1))
    if options.write:
        write(key, entry, bins)
    return 0


if __name__ == "__main__":
    sys.exit(main())
