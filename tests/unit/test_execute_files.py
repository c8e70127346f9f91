"""No path that a tool may be given leads out of the checkout."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.execute.files import MAX_FILE_BYTES, ConfinedFiles
from runner.execute.paths import MAX_DEPTH, Refused, is_git_folder, is_protected, repository_path

OUTSIDE = b"outside: nobody may read this"


class Checkout:
    """A checkout full of traps beside a file that must stay untouched and unread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(OUTSIDE)
        self.tree = folder / "tree"
        (self.tree / "src").mkdir(parents=True)
        (self.tree / ".git").mkdir()
        (self.tree / ".git/config").write_bytes(b"[core]")
        (self.tree / "src/a.txt").write_bytes(b"inside")
        (self.tree / "link").symlink_to(self.outside / "secret")
        (self.tree / "folder").symlink_to(self.outside)
        (self.tree / "src/up").symlink_to("../..")
        (self.tree / "loop").symlink_to("loop")
        (self.tree / "hard").hardlink_to(self.outside / "secret")
        os.mkfifo(self.tree / "pipe")
        self.files = ConfinedFiles(self.tree)

    def state_outside(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if self.tree not in path.parents and path.is_file()
        }


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout(tmp_path)
    yield made
    made.files.close()


PIECES = st.sampled_from(
    ["..", ".", "", "src", "a.txt", "link", "folder", "secret", "up", "loop", "hard", "pipe", "outside", "tree",
     ".git", ".GIT", "config", "~", "new", "a\\b", "\0", "\n", "etc", "passwd", "proc", "self", "environ", "é"]
)  # fmt: skip
PATHS = st.one_of(
    st.lists(PIECES, max_size=8).map("/".join),
    st.lists(PIECES, max_size=8).map(lambda pieces: "/" + "/".join(pieces)),
    st.text(max_size=40),
)


@given(path=PATHS, content=st.binary(max_size=20))
def test_no_path_reads_or_changes_anything_outside(
    tmp_path_factory: pytest.TempPathFactory, path: str, content: bytes
) -> None:
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    before = checkout.state_outside()
    files = checkout.files
    results: list[object] = []
    for action in (
        lambda: files.read(path),
        lambda: files.list(path),
        lambda: files.digest(path),
        lambda: files.write(path, content, new=False),
        lambda: files.write(path, content, new=True),
        lambda: files.delete(path),
        lambda: [entry.path for entry in files.walk()],
    ):
        try:
            results.append(action())
        except Refused:
            continue
    files.close()
    assert OUTSIDE not in results
    assert "secret" not in str(results[:2])
    assert checkout.state_outside() == before
    assert (checkout.tree / ".git/config").read_bytes() == b"[core]"


@pytest.mark.parametrize(
    "path",
    ["link", "folder/secret", "src/up/outside/secret", "src/up/tree/src/a.txt", "loop", "hard", "pipe", ".git/config",
     "../outside/secret", "src/../../outside/secret", "/etc/passwd", "src", "", "missing", "src/a.txt/b"],
)  # fmt: skip
def test_what_is_no_plain_file_inside_is_refused(checkout: Checkout, path: str) -> None:
    for action in (
        lambda: checkout.files.read(path),
        lambda: checkout.files.write(path, b"x", new=False),
        lambda: checkout.files.delete(path),
    ):
        with pytest.raises(Refused):
            action()
    assert (checkout.outside / "secret").read_bytes() == OUTSIDE


def test_a_new_file_gets_its_folders_and_an_old_one_keeps_its_mode(checkout: Checkout) -> None:
    checkout.files.write("docs/deep/new.md", b"new", new=True)
    assert (checkout.tree / "docs/deep/new.md").read_bytes() == b"new"
    (checkout.tree / "src/a.txt").chmod(0o755)
    checkout.files.write("src/a.txt", b"changed", new=False)
    assert (checkout.tree / "src/a.txt").read_bytes() == b"changed"
    assert (checkout.tree / "src/a.txt").stat().st_mode & 0o777 == 0o755
    with pytest.raises(Refused, match="exists already"):
        checkout.files.write("src/a.txt", b"again", new=True)
    checkout.files.delete("src/a.txt")
    assert not (checkout.tree / "src/a.txt").exists()


def test_an_edit_in_a_folder_that_is_not_there_makes_no_folder(checkout: Checkout) -> None:
    with pytest.raises(Refused, match="there is no folder docs/deep"):
        checkout.files.write("docs/deep/old.md", b"new", new=False)
    assert not (checkout.tree / "docs").exists()


def test_a_long_file_is_refused_before_it_is_read_whole(checkout: Checkout) -> None:
    with (checkout.tree / "long").open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(Refused, match=f"more than {MAX_FILE_BYTES} bytes"):
        checkout.files.read("long")


def test_a_folder_swapped_for_a_link_in_the_middle_changes_nothing_outside(checkout: Checkout) -> None:
    """What a tool process could do at the same time, done as fast as it goes."""
    stop = threading.Event()
    path = checkout.tree / "swap"
    aside = checkout.tree / "aside"
    path.mkdir()
    (path / "secret").write_bytes(b"inside")

    def swap() -> None:
        while not stop.is_set():
            path.rename(aside)
            path.symlink_to(checkout.outside)
            path.unlink()
            aside.rename(path)
            stop.wait(0.0002)  # or the folder would hardly ever be seen

    swapper = threading.Thread(target=swap)
    swapper.start()
    read = 0
    try:
        for _ in range(2_000):
            try:
                assert checkout.files.read("swap/secret") == b"inside"
                checkout.files.write("swap/secret", b"inside", new=False)
                read += 1
            except Refused:
                continue
    finally:
        stop.set()
        swapper.join()
    assert read > 0
    assert (checkout.outside / "secret").read_bytes() == OUTSIDE


def test_folders_nested_too_deep_end_a_walk_instead_of_the_runner(checkout: Checkout) -> None:
    folder = os.open(checkout.tree, os.O_RDONLY)
    for _ in range(MAX_DEPTH + 1):
        os.mkdir("deep", dir_fd=folder)
        below = os.open("deep", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    with pytest.raises(Refused, match="nested deeper"):
        list(checkout.files.walk())


@pytest.mark.parametrize(
    "name", [".git", ".GIT", ".Git", "git~1", "GIT~1", ".git ", ".git.", ".g\u200cit", ".git::$DATA"]
)
def test_gits_own_folder_is_known_in_every_spelling(name: str) -> None:
    assert is_git_folder(name)
    with pytest.raises(Refused, match="git's own folder"):
        repository_path(f"src/{name}/config")


@pytest.mark.parametrize("name", [".github", ".gitignore", "git", "a.git"])
def test_names_that_only_look_like_gits_folder_are_allowed(name: str) -> None:
    assert repository_path(f"./src//{name}") == f"src/{name}"


def test_workflows_and_actions_are_protected() -> None:
    assert is_protected(".github/workflows/ci.yml")
    assert is_protected(".github/Workflows/ci.yml")
    assert is_protected(".github/actions/a/action.yml")
    assert not is_protected(".github/agents/a.md")
    assert not is_protected("docs/.github/workflows/a.yml")
