"""A damaged export is refused by name, wherever the damage is, and leaves the database as it was."""

from __future__ import annotations

import hashlib
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from database.archive import read_archive
from errors import InputError
from tests.servers.conftest import Database
from tests.servers.database_command import command
from tests.servers.test_transfer import everything, exported, source, target  # noqa: F401 - fixtures

EVERY = 23  # bytes between two damages: no divisor of any field's length


@pytest.fixture
async def file(source: Database, tmp_path: Path) -> Path:  # noqa: F811
    await exported(source, tmp_path / "all.zip")
    return tmp_path / "all.zip"


def refusal(file: Path) -> str:
    """What a person reads about the file, and empty where it is taken for whole. Any other error is a defect."""
    try:
        with read_archive(file) as archive:
            archive.verify()
    except InputError as refused:
        return str(refused)
    return ""


def assert_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    words = refusal(file)
    assert words.startswith(f"{file}: it is "), words
    assert "Fix: copy it again, or export again" in words or "another format" in words


def test_a_whole_file_is_taken(file):
    assert refusal(file) == ""


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_a_changed_byte_is_found_wherever_it_is(file, bits):
    whole = file.read_bytes()
    for offset in [*range(bits % EVERY, len(whole), EVERY), *range(len(whole) - 120, len(whole))]:
        changed = bytearray(whole)
        changed[offset] ^= bits
        assert_refused(file, bytes(changed))


def test_a_file_that_ends_early_is_found_wherever_it_ends(file):
    whole = file.read_bytes()
    for length in [*range(0, len(whole), EVERY), *range(len(whole) - 120, len(whole))]:
        assert_refused(file, whole[:length])


def test_bytes_before_or_after_the_file_are_found(file):
    whole = file.read_bytes()
    assert_refused(file, b"x" + whole)
    assert_refused(file, whole + b"x")


def test_a_block_that_was_never_written_is_found(file):
    whole = file.read_bytes()
    for start in range(0, len(whole), 512):
        assert_refused(file, whole[:start] + bytes(len(whole[start : start + 512])) + whole[start + 512 :])


Members = list[tuple[str, bytes]]


def rewrite(
    file: Path, change: Callable[[Members], Members], compression: int = zipfile.ZIP_DEFLATED
) -> None:
    """The archive with other members, and the checksum of the whole file right again."""
    with zipfile.ZipFile(file) as archive:
        members = change([(name, archive.read(name)) for name in archive.namelist()])
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that stand there twice
        for name, content in members:
            archive.writestr(name, content)
        archive.comment = b"0" * 64
    content = file.read_bytes()[:-64]
    file.write_bytes(content + hashlib.sha256(content).hexdigest().encode())


def test_what_the_next_tests_rewrite_would_be_taken(file):
    rewrite(file, lambda members: members)
    assert refusal(file) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda members: [m for m in members if m[0] != "missions"], "each once"),
        (lambda members: [*members, ("missions", b"")], "each once"),
        (lambda members: [*members, ("manifest.json", members[-1][1])], "each once"),
        (lambda members: [*members, ("../outside", b"x")], "each once"),
        (lambda members: [*members, ("/etc/passwd", b"x")], "each once"),
        (lambda members: members[:-1], "its manifest cannot be read"),
        (
            lambda members: [(n, c + b"x" if n == "pauses" else c) for n, c in members],
            "pauses is larger than",
        ),
        (lambda members: [(n, c[1:] if n == "pauses" else c) for n, c in members], "the checksum of pauses"),
        (lambda members: [*members[:-1], ("manifest.json", b" " * (17 << 20))], "its manifest is too large"),
        (lambda members: [*members[:-1], ("manifest.json", b"[" * 100_000)], "its manifest cannot be read"),
    ],
)
def test_members_that_no_export_has_are_refused(file, change, words):
    rewrite(file, change)
    assert words in refusal(file)


def with_manifest(**changes: Any) -> Callable[[Members], Members]:
    def change(members: Members) -> Members:
        return [
            *members[:-1],
            ("manifest.json", json.dumps({**json.loads(members[-1][1]), **changes}).encode()),
        ]

    return change


def part(**changes: Any) -> dict[str, Any]:
    whole = {"table": "agents", "columns": ["agent_name"], "rows": 1, "bytes": 1, "sha256": "0"}
    return {**whole, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"export_id": 7},
        {"export_id": "no uuid"},
        {"made_at": None},
        {"migration": "9"},
        {"whole": "yes"},
        {"agents": [1]},
        {"agents": None},
        {"more": 1},
        {"parts": []},
        {"parts": 7},
        {"parts": [part(), part()]},
        {"parts": [part(), part(table="../agents")]},
        {"parts": [part(bytes=-1)]},
        {"parts": [part(rows=1.5)]},
        {"parts": [part(columns=[])]},
        {"parts": [part(columns=[["x"]])]},
        {"parts": [part(sha256=None)]},
        {"parts": [part(more=1)]},
    ],
)
def test_a_manifest_that_no_export_writes_is_refused(file, changes):
    rewrite(file, with_manifest(**changes))
    assert "its manifest" in refusal(file)


def test_a_member_that_unpacks_to_more_than_the_manifest_says_is_not_unpacked(file):
    bomb = bytes(1 << 26)
    rewrite(file, lambda members: [(n, bomb if n == "pauses" else c) for n, c in members])
    assert "pauses is larger than its manifest says" in refusal(file)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_whose_unpacking_has_no_bound_is_refused(file, compression):
    rewrite(file, lambda members: members, compression)
    assert "compressed in another way" in refusal(file)


async def test_the_command_names_file_and_way_out_and_the_database_stays_as_it_was(file, target):  # noqa: F811
    whole = file.read_bytes()
    async with target.connect("agents_owner") as owner:
        before = await everything(owner)
        for offset in (10, len(whole) // 2, len(whole) - 300, len(whole) - 1):
            changed = bytearray(whole)
            changed[offset] ^= 0xFF
            file.write_bytes(bytes(changed))
            code, out, err = await command(target, "import", str(file))
            assert (code, out) == (1, "")
            assert err.startswith(f"{file}: it is ")
            assert err.endswith("Fix: copy it again, or export again\n")
            assert len(err.splitlines()) == 1
        assert await everything(owner) == before
