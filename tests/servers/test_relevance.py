"""The relevance benchmark on the real history, with the real model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.relevance import main


def test_recall_beats_full_text_and_vectors_and_is_silent_where_nothing_is_related(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--history", str(real / "pull_requests.json"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    methods = figures["methods"]
    assert set(methods) == {"ours", "bm25", "cosine", "latest", "random"}
    assert 0.2 < figures["possible"] / figures["works"] < 0.5
    for other in ("bm25", "cosine", "latest", "random"):
        assert methods["ours"]["first"] > methods[other]["first"]
        assert methods["ours"]["mrr"] > methods[other]["mrr"]
    assert methods["ours"]["precision_at_threshold"] >= 0.8
    assert methods["ours"]["found_at_threshold"] >= 0.75
    assert methods["bm25"]["precision_at_threshold"] is None


def test_people_get_a_table_with_the_same_figures_at_every_run(
    real: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = []
    for _ in range(2):
        assert main(["--history", str(real / "pull_requests.json")]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1]
    assert [line.split()[0] for line in tables[0].splitlines()[2:]] == [
        "ours",
        "bm25",
        "cosine",
        "latest",
        "random",
    ]


@pytest.mark.parametrize(
    "content", ["[]", '[{"number": 1, "title": "Fix", "mergedAt": "2026-01-01T00:00:00Z"}]', "{"]
)
def test_a_history_that_says_nothing_is_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    history = tmp_path / "history.json"
    history.write_text(content)
    assert main(["--history", str(history)]) != 0
    assert "Fix: " in capsys.readouterr().err
