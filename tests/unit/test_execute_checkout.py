"""Unpacking, measuring the change, and cleaning up."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from errors import ExecutionError, SettingsError
from runner.execute.changes import ChangeLimits, Snapshot, changed_files
from runner.execute.checkout import Checkouts, remove_tree
from runner.execute.files import ConfinedFiles
from runner.execute.paths import Refused
from runner.execute.unpack import UnpackLimits, unpack
from tests.servers.mission_parts import SHA, Repository, tarball

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"


class Work:
    """An unpacked repository."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "source.tar.gz"
        self.tree = folder / "tree"
        self.tree.mkdir()
        self.files = ConfinedFiles(self.tree)

    def unpack(self, packed: bytes, **limits: int) -> Snapshot:
        self.archive.write_bytes(packed)
        return unpack(self.archive, self.tree, self.files, SHA, UnpackLimits(**limits))

    def changed(self, snapshot: Snapshot, **limits: Any) -> dict[str, bytes | None]:
        return changed_files(self.files, snapshot, ChangeLimits(**limits))


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    made = Work(tmp_path)
    yield made
    made.files.close()


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, mode
    return made


def test_a_repository_is_unpacked_and_nothing_has_changed(work: Work) -> None:
    snapshot = work.unpack(tarball({"a.txt": b"a", "src/b.py": b"b"}, {"docs": "src", "c": "./src/../a.txt"}))
    assert (work.tree / "src/b.py").read_bytes() == b"b"
    assert (work.tree / "c").read_bytes() == b"a"
    assert snapshot.base_sha == SHA
    assert snapshot.skipped == ()
    assert work.changed(snapshot) == {}


def test_a_program_stays_executable_and_nothing_is_setuid(work: Work) -> None:
    work.unpack(packed((member("top/run", mode=0o6755), b"#!"), (member("top/plain", mode=0o600), b"")))
    assert (work.tree / "run").stat().st_mode & 0o7777 == 0o755
    assert (work.tree / "plain").stat().st_mode & 0o7777 == 0o644


def test_members_that_lead_out_are_left_out(work: Work) -> None:
    snapshot = work.unpack(
        packed(
            (member("top/../evil"), b"x"),
            (member("top//etc/evil"), b"x"),
            (member("top/.git/config"), b"x"),
            (member("top/a\\b"), b"x"),
            (member("top/link", tarfile.SYMTYPE, "../../outside"), b""),
            (member("top/absolute", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (member("top/hard", tarfile.LNKTYPE, "top/fine"), b""),
            (member("top/pipe", tarfile.FIFOTYPE), b""),
            (member("top/device", tarfile.CHRTYPE), b""),
            (member("top/fine"), b"fine"),
        )
    )
    found = sorted(str(path.relative_to(work.tree)) for path in work.tree.rglob("*") if not path.is_dir())
    assert found == ["fine"]
    assert len(snapshot.skipped) == 9
    assert not (work.tree.parent / "evil").exists()


def test_links_that_lead_out_by_way_of_each_other_are_not_made(work: Work) -> None:
    links = {"deep/er/up": "../..", "out": "deep/er/up/../../secret", "fine": "deep/er/up/a.txt"}
    snapshot = work.unpack(tarball({"a.txt": b"a", "deep/er/x": b""}, links))
    assert snapshot.skipped == ("out",)
    assert (work.tree / "fine").read_bytes() == b"a"


def test_a_file_is_never_written_through_a_link(work: Work) -> None:
    outside = work.tree.parent / "outside"
    outside.mkdir()
    work.unpack(packed((member("top/a", tarfile.SYMTYPE, str(outside)), b""), (member("top/a/evil"), b"x")))
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (lambda: b"no archive", "broken"),
        (lambda: tarball({"a": b"a" * 50_000})[:-60], "broken"),
        (lambda: tarball({f"{n}": b"" for n in range(30)}), "more than 20 files"),
        (lambda: tarball({"a": b"\0" * 200_000, "b": b"\0" * 900_000}), "1000000 bytes"),
        (lambda: tarball({"a": b""}, sha="f" * 40), "is of commit ffff"),
        (lambda: packed((member("one/a"), b""), (member("two/b"), b"")), "'two' beside 'one'"),
    ],
)
def test_a_bad_archive_is_an_error(work: Work, made: Callable[[], bytes], problem: str) -> None:
    with pytest.raises(ExecutionError, match=problem):
        work.unpack(made(), members=20, total_bytes=1_000_000, file_bytes=500_000)


def test_a_file_that_was_left_out_is_neither_deleted_nor_overwritten(work: Work) -> None:
    snapshot = work.unpack(tarball({"large.bin": b"\0" * 2_000, "a": b"a"}), file_bytes=1_000)
    assert snapshot.skipped == ("large.bin",)
    assert work.changed(snapshot) == {}
    (work.tree / "large.bin").write_bytes(b"small")
    with pytest.raises(Refused, match="left out here"):
        work.changed(snapshot)


def test_what_changed_is_found_by_content(work: Work) -> None:
    snapshot = work.unpack(
        tarball({"same": b"1", "new": b"2", "gone": b"3", "src/x": b"4"}, {"link": "same"})
    )
    (work.tree / "same").write_bytes(b"1")
    (work.tree / "new").write_bytes(b"two")
    (work.tree / "gone").unlink()
    (work.tree / "src/y").write_bytes(b"\xff\0")
    (work.tree / "link").unlink()
    assert work.changed(snapshot) == {"gone": None, "link": None, "new": b"two", "src/y": b"\xff\0"}


def test_leftovers_of_builds_are_no_change_unless_the_repository_holds_them(work: Work) -> None:
    snapshot = work.unpack(tarball({"node_modules/kept/a.js": b"a"}))
    for path in (
        "src/__pycache__/a.pyc",
        "node_modules/kept/b.js",
        ".venv/bin/python",
        "a.pyc",
        ".git/config",
    ):
        (work.tree / path).parent.mkdir(parents=True, exist_ok=True)
        (work.tree / path).write_bytes(b"x")
    (work.tree / "node_modules/kept/a.js").write_bytes(b"changed")
    assert work.changed(snapshot) == {"node_modules/kept/a.js": b"changed", "node_modules/kept/b.js": b"x"}


def test_a_change_that_is_too_large_or_of_the_wrong_kind_is_refused_with_every_reason(work: Work) -> None:
    snapshot = work.unpack(tarball({"a": b"a"}))
    (work.tree / "link").symlink_to("/etc/passwd")
    os.mkfifo(work.tree / "pipe")
    (work.tree / "long").write_bytes(b"x" * 2_000)
    with pytest.raises(Refused) as refused:
        work.changed(snapshot, file_bytes=1_000)
    for word in ("'link' is a link", "'pipe' is a link or a special file", "long has more than 1000 bytes"):
        assert word in str(refused.value)


def test_the_number_and_the_sum_of_changed_files_are_limited(work: Work) -> None:
    snapshot = work.unpack(tarball({"a": b"a"}))
    for number in range(5):
        (work.tree / str(number)).write_bytes(b"x" * 100)
    with pytest.raises(Refused, match="more than 3 files"):
        work.changed(snapshot, files=3)
    with pytest.raises(Refused, match="500 bytes, the limit is 400"):
        work.changed(snapshot, total_bytes=400)


def test_workflows_need_the_operators_permission(work: Work) -> None:
    snapshot = work.unpack(tarball({".github/workflows/ci.yml": b"on: push"}))
    (work.tree / ".github/workflows/ci.yml").unlink()
    with pytest.raises(Refused, match="operator allows it"):
        work.changed(snapshot)
    assert work.changed(snapshot, protected_allowed=True) == {".github/workflows/ci.yml": None}


def test_a_credential_is_refused_unless_it_stood_there_before(work: Work) -> None:
    snapshot = work.unpack(tarball({"tests/key.pem": KEY, "other": b""}))
    (work.tree / "tests/key.pem").write_bytes(KEY + b"changed")
    assert list(work.changed(snapshot)) == ["tests/key.pem"]
    (work.tree / "other").write_bytes(KEY)
    with pytest.raises(Refused, match=r"other holds what looks like a credential \(private key\)"):
        work.changed(snapshot)


def test_any_tree_is_removed_and_no_link_followed(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "file").write_bytes(b"stays")
    hostile = tmp_path / "hostile"
    (hostile / "closed").mkdir(parents=True)
    (hostile / "closed/file").write_bytes(b"x")
    (hostile / "closed").chmod(0)
    (hostile / "link").symlink_to(keep)
    os.mkfifo(hostile / "pipe")
    folder = os.open(hostile, os.O_RDONLY)
    for _ in range(3_000):  # deeper than Python recurses and longer than a path may be
        os.mkdir("deep", dir_fd=folder)
        below = os.open("deep", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    remove_tree(hostile)
    assert not hostile.exists()
    assert (keep / "file").read_bytes() == b"stays"


def test_a_folder_that_others_may_write_is_no_place_for_checkouts(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(SettingsError, match="can be written by others"):
        Checkouts(shared, Repository())
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SettingsError):
        Checkouts(tmp_path / "link", Repository())
