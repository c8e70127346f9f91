"""`make bench` knows every benchmark."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

from bench.__main__ import NEED_MORE, NEED_NOTHING
from bench.embedding import Figures, missed
from tests.unit.matching import ROOT

PARTS = {"__main__", "procrastinate_jobs", "memory.__main__", "memory.contender"}  # processes of a benchmark


def test_every_benchmark_can_be_named_and_no_other() -> None:
    found = {
        ".".join(file.relative_to(ROOT / "bench").with_suffix("").parts)
        for file in (ROOT / "bench").rglob("*.py")
        if "\nif __name__ ==" in file.read_text(encoding="utf-8") and "empty_program" not in file.parts
    }
    assert found - PARTS | {"memory"} == {*NEED_NOTHING, *NEED_MORE}


def test_a_name_that_is_no_benchmark_is_refused_with_the_names_there_are() -> None:
    command = [sys.executable, "-m", "bench", "nosuch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no benchmark nosuch" in done.stderr


def test_the_embedding_benchmark_fails_where_one_of_its_targets_is_missed() -> None:
    def runs(one_ms: float, texts_per_s: float) -> list[Figures]:
        alone = Figures(1, 0.0, 1.0, 30.0, 40.0, 10.0, 100, 0.9, 250, 260)
        return [alone, replace(alone, threads=2, one_ms=one_ms, batch_texts_per_s=texts_per_s)]

    assert not missed(runs(15.0, 60.0))
    assert missed(runs(15.1, 60.0))
    assert missed(runs(15.0, 59.9))


def test_the_readme_and_docs_name_only_benchmarks_there_are() -> None:
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for text in texts:
        named = set(re.findall(r"bench\.([a-z_]+(?:\.crossover)?)\b", text.read_text(encoding="utf-8")))
        assert named <= {*NEED_NOTHING, *NEED_MORE}, text
