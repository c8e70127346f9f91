"""The benchmark of memory runs from end to end: it stores, asks, judges, and says which targets are reached."""

from __future__ import annotations

import asyncio
import json
import sys

from bench.memory.answers import judge
from bench.memory.contender import Parts
from bench.memory.corpus import Size, made_up
from tests.unit.matching import ROOT


async def test_ours_finds_what_is_nearest_and_nothing_else_while_32_clients_ask():
    options = (
        "--size",
        "tiny",
        "--vectors",
        "independent",
        "--seeds",
        "1",
        "--only",
        "ours",
        "--seconds",
        "0.5",
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.memory", *options, "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    (document,) = json.loads(out)
    assert document["targets"] == {"recall@5 >= 0.99": True, "0 leaks": True, "0 short answers": True}
    nearest, with_words = document["rounds"]
    assert (nearest["contender"], with_words["contender"]) == ("ours", "ours, words too")
    stored = nearest["loaded"]
    assert all(stored[rate] > 0 for rate in ("single", "batch", "bulk", "ready", "bulk_full", "single_full"))
    assert stored["ready"] < stored["bulk"]
    assert nearest["asked"]["1"]["questions"] == 300
    assert nearest["asked"]["32"]["questions"] > 0


def test_each_row_is_stored_once():
    for rows in (6_000, 66_000):
        parts = Parts.of(rows)
        stored = (parts.single, parts.batch, parts.first, parts.middle, parts.bulk_full, parts.single_full)
        assert [row for part in stored for row in part] == list(range(rows))
        assert len(parts.first) == len(parts.bulk_full)
        assert len(parts.single) == len(parts.single_full)


def test_a_wrong_answer_is_told_from_a_right_one_each_time_it_comes():
    corpus = made_up("independent", Size(2, 100, 2), 0, 1)
    right = [int(row) for row in corpus.answers[0]]
    other = next(row for row in range(200) if corpus.agent[row] != corpus.asker[0])
    judged = judge(corpus, [(0, right), (0, [*right[:4], other]), (0, []), (0, right)])
    assert judged.recall == (5 + 4 + 0 + 5) / 20
    assert (judged.leaks, judged.short, judged.empty) == (1, 1, 1)
