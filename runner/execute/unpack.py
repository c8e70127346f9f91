"""Unpacking a repository's tarball: nothing leaves the folder, nothing grows past its limits.

Not through tarfile's own `data` filter: Debian 12's Python 3.11.2 lacks it, and ConfinedFiles is stricter.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from errors import ExecutionError
from runner.execute.changes import Snapshot
from runner.execute.files import ConfinedFiles
from runner.execute.paths import Refused, repository_path


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """The largest repository that is worked on; sizes in bytes."""

    archive_bytes: int = 104_857_600
    members: int = 20_000
    file_bytes: int = 16_777_216
    """Longer files are left out."""
    total_bytes: int = 268_435_456


def unpack(archive: Path, tree: Path, files: ConfinedFiles, base_sha: str, limits: UnpackLimits) -> Snapshot:
    """Unpack GitHub's tarball (one folder that holds the repository) into the empty folder `tree`.

    Too long files, names that git would not take, links that lead out and special files are left out, and
    listed.
    Raises ExecutionError when the archive is broken, too large, or of another commit than `base_sha`.
    """
    hashes: dict[str, bytes] = {}
    links: dict[str, str] = {}
    skipped: list[str] = []
    prefix = ""
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member, name in _members(members, base_sha, limits):
                prefix = prefix or member.name.partition("/")[0]
                try:
                    path = repository_path(name)
                    if member.issym():
                        links[path] = member.linkname
                    elif not member.isreg() or member.size > limits.file_bytes:
                        raise Refused(f"{name} is too long or a special file")
                    else:
                        source = members.extractfile(member)
                        content = source.read() if source is not None else b""
                        files.write(path, content, new=True, mode=0o755 if member.mode & 0o100 else 0o644)
                        hashes[path] = hashlib.sha256(content).digest()
                except Refused:
                    skipped.append(name)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ExecutionError(f"the repository's archive is broken: {error}") from error
    made = _make_links(tree, files, links)
    skipped += [path for path in links if path not in made]
    return Snapshot(base_sha, hashes, made, tuple(skipped), archive, prefix)


def _members(
    archive: tarfile.TarFile, base_sha: str, limits: UnpackLimits
) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """All but folders, each with its path in the repository; the one folder around them is taken off."""
    prefix = ""
    total = 0
    for count, member in enumerate(archive):
        total += member.size
        if count >= limits.members or total > limits.total_bytes:
            raise ExecutionError(
                f"the repository has more than {limits.members} files or {limits.total_bytes} bytes"
            )
        top, _, name = member.name.partition("/")
        if not prefix:
            prefix = top
            # `git archive`, which GitHub uses, writes the commit's id there.
            commit = archive.pax_headers.get("comment", base_sha)
            if commit != base_sha:
                raise ExecutionError(f"the archive is of commit {commit}, not of {base_sha}")
        if top != prefix:
            raise ExecutionError(f"the archive holds {top!r} beside {prefix!r}")
        if name and not member.isdir():
            yield member, name


def _make_links(tree: Path, files: ConfinedFiles, links: dict[str, str]) -> dict[str, str]:
    """Make the links that stay inside. Last, so that no file is written through one."""
    made: dict[str, str] = {}
    for path, target in links.items():
        try:
            files.link(path, target)
        except Refused:
            continue
        made[path] = target
    root = os.path.realpath(tree)
    for path in tuple(made):
        # Only the real path tells: links inside can lead to each other, and `a/..` need not be where `a` is.
        if os.path.commonpath([root, os.path.realpath(tree / path)]) != root:
            (tree / path).unlink()
            del made[path]
    return made
