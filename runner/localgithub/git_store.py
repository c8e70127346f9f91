"""Commits, trees, blobs and branches of the local GitHub's repositories."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.localgithub.git_objects import (
    TREE_MODE,
    Commit,
    Entry,
    decode_commit,
    decode_tree,
    encode_commit,
    encode_tree,
    object_id,
)
from runner.localgithub.state import ApiError, State

Files = dict[str, tuple[str, str]]
"""path -> (mode, blob id): a whole tree, flat."""
MAX_CONTENTS = 50 * 1024 * 1024
MAX_HISTORY = 10_000


def put(state: State, kind: str, data: bytes) -> str:
    """Stores an object and gives its id."""
    sha = object_id(kind, data)
    state.store.run("INSERT OR IGNORE INTO objects (sha, kind, data) VALUES (?, ?, ?)", sha, kind, data)
    return sha


def get(state: State, kind: str, sha: str) -> bytes:
    """Raises ApiError 404 when there is no such object."""
    row = state.store.row("SELECT data FROM objects WHERE sha = ? AND kind = ?", sha, kind)
    if row is None:
        raise ApiError(404, "Not Found")
    return bytes(row["data"])


def commit_of(state: State, sha: str) -> Commit:
    """The commit `sha`; ApiError 404 when there is none."""
    return decode_commit(get(state, "commit", sha))


def tree_files(state: State, tree: str, prefix: str = "") -> Files:
    """Every file of a tree, by its whole path."""
    files: Files = {}
    for entry in decode_tree(get(state, "tree", tree)):
        if entry.is_tree:
            files.update(tree_files(state, entry.sha, f"{prefix}{entry.name}/"))
        else:
            files[prefix + entry.name] = (entry.mode, entry.sha)
    return files


def write_tree(state: State, files: Mapping[str, tuple[str, str]]) -> str:
    """Stores a tree with its subtrees and gives its id."""
    folders: dict[str, Files] = {}
    entries = []
    for path, (mode, sha) in files.items():
        folder, slash, rest = path.partition("/")
        if slash:
            folders.setdefault(folder, {})[rest] = (mode, sha)
        else:
            entries.append(Entry(mode, path, sha))
    entries += [Entry(TREE_MODE, name, write_tree(state, inner)) for name, inner in folders.items()]
    return put(state, "tree", encode_tree(entries))


def write_commit(state: State, tree: str, parents: tuple[str, ...], message: str, login: str) -> str:
    """Stores a commit by `login`, made now, and gives its id."""
    who = f"{login} <{login}@users.noreply.github.com> {int(state.settings.clock())} +0000"
    return put(state, "commit", encode_commit(Commit(tree, parents, who, who, message)))


def branch_sha(state: State, repository: str, branch: str) -> str | None:
    """The commit that a branch points to; None when there is no such branch."""
    sql = "SELECT sha FROM refs WHERE repository = ? AND name = ?"
    row = state.store.row(sql, repository, f"refs/heads/{branch}")
    return None if row is None else str(row["sha"])


def set_branch(state: State, repository: str, branch: str, sha: str) -> None:
    """Makes or moves a branch, also backwards."""
    sql = """
        INSERT INTO refs (repository, name, sha) VALUES (?, ?, ?)
        ON CONFLICT (repository, name) DO UPDATE SET sha = excluded.sha"""
    state.store.run(sql, repository, f"refs/heads/{branch}", sha)


def history(state: State, sha: str) -> Iterator[tuple[str, Commit]]:
    """The commits that can be reached from `sha`, nearest first, at most MAX_HISTORY."""
    waiting, seen = [sha], {sha}
    for _ in range(MAX_HISTORY):
        if not waiting:
            return
        current = waiting.pop(0)
        commit = commit_of(state, current)
        yield current, commit
        fresh = [parent for parent in commit.parents if parent not in seen]
        seen.update(fresh)
        waiting += fresh


def resolve(state: State, repository: str, ref: str) -> str:
    """The commit of a branch name, a full ref or a commit id; ApiError 404 when there is none."""
    branch = branch_sha(state, repository, ref.removeprefix("refs/heads/").removeprefix("heads/"))
    if branch is not None:
        return branch
    get(state, "commit", ref)
    return ref


def merge(state: State, base: str, ours: str, theirs: str) -> str:
    """The tree of `ours` with the changes from commit `base` to `theirs`; ApiError 405 on a conflict.

    Whole files are merged, not lines: two changes of one file conflict.
    """
    old, mine, new = (tree_files(state, commit_of(state, sha).tree) for sha in (base, ours, theirs))
    merged = dict(mine)
    for path in old.keys() | new.keys():
        if old.get(path) == new.get(path) or mine.get(path) == new.get(path):
            continue
        if mine.get(path) != old.get(path):
            raise ApiError(405, "Pull Request is not mergeable")
        if path in new:
            merged[path] = new[path]
        else:
            del merged[path]
    return write_tree(state, merged)


def tarball(state: State, repository: str, sha: str) -> bytes:
    """.tar.gz of a commit, under GitHub's folder name."""
    top = f"{repository.replace('/', '-')}-{sha[:7]}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for path, (mode, blob) in sorted(tree_files(state, commit_of(state, sha).tree).items()):
            data = get(state, "blob", blob)
            info = tarfile.TarInfo(f"{top}/{path}")
            info.mode = int(mode, 8) & 0o777
            if mode == "120000":
                info.type, info.linkname = tarfile.SYMTYPE, data.decode()
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a folder for a first commit, without `.git` and without links."""
    files: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if ".git" in relative.parts or path.is_symlink() or not path.is_file():
            continue
        size += path.stat().st_size
        if size > MAX_CONTENTS:
            raise ApiError(422, f"{folder} holds more than {MAX_CONTENTS} bytes")
        files[relative.as_posix()] = path.read_bytes()
    return files
