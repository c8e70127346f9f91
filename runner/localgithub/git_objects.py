"""Git's object formats (git-scm.com/book, "Git Internals"), so that ids are the ones git would compute."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TREE_MODE = "40000"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tree. `mode` as git stores it: 100644, 100755, 120000, 160000, or 40000 for a tree."""

    mode: str
    name: str
    sha: str

    @property
    def is_tree(self) -> bool:
        return self.mode == TREE_MODE


@dataclass(frozen=True, slots=True)
class Commit:
    """`author` and `committer` are "Name <email> epoch zone"."""

    tree: str
    parents: tuple[str, ...]
    author: str
    committer: str
    message: str


def object_id(kind: str, data: bytes) -> str:
    """SHA-1 over header and data; git's identifier, not a protection."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()


def encode_tree(entries: Iterable[Entry]) -> bytes:
    """The data of a tree object."""
    # Git sorts a tree as if its name ended in a slash.
    ordered = sorted(entries, key=lambda e: e.name.encode() + (b"/" if e.is_tree else b""))
    return b"".join(f"{e.mode} {e.name}".encode() + b"\0" + bytes.fromhex(e.sha) for e in ordered)


def decode_tree(data: bytes) -> list[Entry]:
    """The entries of a tree object's data."""
    entries = []
    at = 0
    while at < len(data):
        end = data.index(b"\0", at)
        mode, name = data[at:end].decode().split(" ", 1)
        entries.append(Entry(mode, name, data[end + 1 : end + 21].hex()))
        at = end + 21
    return entries


def encode_commit(commit: Commit) -> bytes:
    """The data of a commit object."""
    lines = [f"tree {commit.tree}", *(f"parent {parent}" for parent in commit.parents)]
    lines += [f"author {commit.author}", f"committer {commit.committer}", "", commit.message]
    return "\n".join(lines).encode()


def decode_commit(data: bytes) -> Commit:
    """The commit in a commit object's data."""
    head, _, message = data.decode().partition("\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.split("\n"):
        key, _, value = line.partition(" ")
        fields.setdefault(key, []).append(value)
    parents: Sequence[str] = fields.get("parent", ())
    return Commit(fields["tree"][0], tuple(parents), fields["author"][0], fields["committer"][0], message)
