"""`python -m runner match` as people and programs use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.cli import main
from tests.unit.matching import ROOT

AGENTS = ("--agents", str(ROOT / ".github" / "agents"))
Capsys = pytest.CaptureFixture[str]


def issues_file(folder: Path, *issues: object) -> str:
    file = folder / "issues.json"
    file.write_text(json.dumps(issues))
    return str(file)


def test_one_issue_is_told_with_its_candidates_and_every_reason(capsys: Capsys) -> None:
    assert main(["match", *AGENTS, "--title", "Move the EKS cluster to Graviton"]) == 0
    told = capsys.readouterr().out
    first = next(line for line in told.splitlines() if "█" in line)
    assert "cloud-architect" in first
    assert "- word `eks` in its description" in told


def test_labels_may_follow_one_another_or_repeat_the_option(capsys: Capsys) -> None:
    together = ["--label", "bug", "agent:secure-ninja"]
    apart = ["--label", "bug", "--label", "agent:secure-ninja"]
    for labels in (together, apart):
        assert main(["match", *AGENTS, "--title", "Bake bread", *labels, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["agent"] == "secure-ninja"


def test_json_is_an_array_with_an_entry_for_each_issue_even_where_nobody_is_chosen(
    capsys: Capsys, tmp_path: Path
) -> None:
    known = {"number": 7, "title": "Move the EKS cluster to Graviton", "body": "", "labels": []}
    # Rare words of one definition's prose: a hint, too weak to choose by.
    unknown = {"number": 8, "title": "thanks for the nodes", "body": "", "labels": []}
    assert main(["match", *AGENTS, "--issues", issues_file(tmp_path, known, unknown), "--json"]) == 0
    chosen, abstained = json.loads(capsys.readouterr().out)
    assert list(chosen) == ["number", "agent", "score", "candidates", "why"]
    assert (chosen["number"], chosen["agent"]) == (7, "cloud-architect")
    assert chosen["candidates"][0] == {"agent": "cloud-architect", "score": chosen["score"]}
    scores = [candidate["score"] for candidate in chosen["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert (abstained["number"], abstained["agent"]) == (8, None)
    assert abstained["candidates"]
    assert abstained["score"] < 3
    assert "abstains" in abstained["why"][0]


def test_a_title_in_brackets_is_shown_whole(capsys: Capsys, tmp_path: Path) -> None:
    issue = {"number": 1, "title": "[red] EKS", "body": "", "labels": []}
    assert main(["match", *AGENTS, "--issues", issues_file(tmp_path, issue)]) == 0
    assert "[red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "issues.json:1: not JSON"),
        ('{"number": 1}', "not an array of issues"),
        ('[{"number": 1, "title": "x"}, {"number": "x"}]', "entry 2"),
        ('["x"]', "entry 1: a str, not an object"),
        (b"\xff", "not JSON in UTF-8"),
    ],
)
def test_a_broken_file_of_issues_is_refused_with_its_place(
    text: str | bytes, message: str, capsys: Capsys, tmp_path: Path
) -> None:
    file = tmp_path / "issues.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["match", *AGENTS, "--issues", str(file), "--json"]) != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert str(file) in err


@pytest.mark.parametrize("given", [(), ("--title", "x", "--issues", "y.json")])
def test_neither_or_both_ways_to_give_an_issue_are_refused(given: tuple[str, ...], capsys: Capsys) -> None:
    assert main(["match", *AGENTS, *given]) != 0
    assert "--issues and --title" in capsys.readouterr().err
