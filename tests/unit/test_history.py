from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import json_array
from errors import HistoryError
from runner.match.history import load_history


def entry(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"number": number, "title": f"Work {number}", "mergedAt": "2026-01-02T03:04:05Z"} | fields


def write(folder: Path, data: object) -> Path:
    file = folder / "history.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    return file


def test_what_gh_prints_is_read(tmp_path: Path) -> None:
    labels = [{"name": "automated"}, {"name": "agent:engineer-master"}, {"name": "agent:create-guru"}]
    file = write(
        tmp_path, [entry(7, body="Done", labels=labels, files=[{"path": "docs/a.md"}, {"path": "b.py"}])]
    )

    (work,) = load_history(file)

    assert (work.number, work.title, work.body, work.agent) == (7, "Work 7", "Done", "engineer-master")
    assert work.labels == ("automated",)
    assert work.files == ("docs/a.md", "b.py")
    assert work.merged_at == "2026-01-02T03:04:05+00:00"


def test_works_come_oldest_first_whatever_their_time_zone(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        [
            entry(1, mergedAt="2026-01-02T00:30:00+02:00"),
            entry(2, mergedAt="2026-01-01T20:00:00-05:00"),
            entry(3, mergedAt="2026-01-01T23:00:00"),
        ],
    )

    assert [work.number for work in load_history(file)] == [1, 3, 2]


def test_what_is_missing_is_empty_and_labels_may_be_texts(tmp_path: Path) -> None:
    file = write(
        tmp_path, [{"number": 1, "title": "x", "body": None, "labels": ["agent: ", "docs"], "files": None}]
    )

    (work,) = load_history(file)

    assert (work.agent, work.body, work.labels, work.files, work.merged_at) == (None, "", ("docs",), (), "")


def test_work_closed_without_a_merge_was_not_done(tmp_path: Path) -> None:
    assert [work.number for work in load_history(write(tmp_path, [entry(1, mergedAt=None), entry(2)]))] == [2]


def test_an_empty_array_is_an_empty_history(tmp_path: Path) -> None:
    assert load_history(write(tmp_path, [])) == ()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"number": 1}, "a dict, not an array of works"),
        (["text"], "entry 0 is no object"),
        ([entry(), {"title": "x"}], "entry 1 has no whole `number` or no `title`"),
        ([entry(number=True)], "entry 0 has no whole `number`"),
        ([entry(title=None)], "entry 0 has no whole `number` or no `title`"),
        ([entry(mergedAt="yesterday")], "entry 0: `mergedAt` is 'yesterday'"),
        ([entry(mergedAt=5)], "entry 0: `mergedAt` is 5"),
    ],
)
def test_anything_else_names_file_entry_and_remedy(tmp_path: Path, data: object, problem: str) -> None:
    file = write(tmp_path, data)

    with pytest.raises(HistoryError) as caught:
        load_history(file)

    assert str(caught.value).startswith(f"{file}: {problem}")
    assert "Fix: write " in str(caught.value)


def test_json_that_does_not_parse_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "history.json"
    file.write_text('[\n{"number": 1,,}\n]')

    with pytest.raises(HistoryError, match=rf"{file}:2: not JSON"):
        load_history(file)


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00[", b"[" * 200_000])
def test_bytes_that_are_no_text_and_nesting_without_end_are_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "history.json"
    file.write_bytes(raw)

    with pytest.raises(HistoryError, match="not JSON"):
        load_history(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(HistoryError, match=r"it cannot be read: .* Fix: check the path"):
            load_history(path)


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "MAX_FILE_BYTES", 10)

    with pytest.raises(HistoryError, match="over 10 bytes"):
        load_history(write(tmp_path, [entry()]))


def test_the_real_history_is_read(real: Path) -> None:
    works = load_history(real / "pull_requests.json")

    assert len(works) == 980
    assert sum(work.agent is not None for work in works) == 188
    assert [work.merged_at for work in works] == sorted(work.merged_at for work in works)
