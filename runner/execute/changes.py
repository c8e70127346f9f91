"""What an agent changed in its checkout, and what of it may become a pull request."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner.execute.files import ConfinedFiles
from runner.execute.leaks import credentials
from runner.execute.paths import Refused, is_protected, repository_path

# What builds and tests leave behind; a new file below such a folder is nobody's work.
LEFTOVERS = frozenset(
    ".cache .eggs .gradle .mypy_cache .nox .npm .pytest_cache .ruff_cache .tox .venv "
    "__pycache__ node_modules venv".split()
)
LEFTOVER_SUFFIXES = (".pyc", ".pyo", ".o", ".class", ".swp")
MAX_PROBLEMS = 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The repository as it was fetched."""

    base_sha: str
    files: Mapping[str, bytes]
    """Path → SHA-256."""
    links: Mapping[str, str]
    """Path of a symbolic link → its target."""
    skipped: tuple[str, ...]
    """Members of the archive that were not unpacked."""
    archive: Path
    prefix: str
    """The folder in `archive` that holds the repository."""


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """The largest pull request an agent may make; sizes in bytes."""

    files: int = 100
    file_bytes: int = 1_048_576
    total_bytes: int = 4_194_304
    protected_allowed: bool = False
    """The operator lets agents change workflows."""


def changed_files(files: ConfinedFiles, snapshot: Snapshot, limits: ChangeLimits) -> dict[str, bytes | None]:
    """Path → new content (None: deleted) of all that differs from `snapshot`, sorted by path.

    Raises Refused with every reason (up to MAX_PROBLEMS) why this may not become a pull request.
    """
    kept = frozenset(
        str(above) for path in (*snapshot.files, *snapshot.links) for above in PurePosixPath(path).parents
    )
    left_out = frozenset(snapshot.skipped)
    changed: dict[str, bytes | None] = {}
    problems: list[str] = []
    seen: set[str] = set()
    total = 0
    for entry in files.walk(LEFTOVERS, kept):
        seen.add(entry.path)
        before = snapshot.files.get(entry.path)
        if entry.kind == "link" and snapshot.links.get(entry.path) == entry.target:
            continue
        if before is None and entry.path.endswith(LEFTOVER_SUFFIXES):
            continue
        if len(problems) >= MAX_PROBLEMS or len(changed) > limits.files:
            break
        try:
            if entry.kind != "file" or entry.path in snapshot.links:
                raise Refused(
                    f"{entry.path!r} is a link or a special file; only regular files can be proposed"
                )
            path = repository_path(entry.path)
            if left_out.intersection((path, *map(str, PurePosixPath(path).parents))):
                raise Refused(
                    f"{path} stands in the way of what the repository has there but was left out here"
                )
            if before is not None and files.digest(path) == before:
                continue
            content = files.read(path, limits.file_bytes)
            _check(path, content, snapshot)
        except Refused as refusal:
            problems.append(str(refusal))
            continue
        total += len(content)
        changed[path] = content
    else:
        changed |= dict.fromkeys(path for path in (*snapshot.files, *snapshot.links) if path not in seen)
    problems += [
        f"{path} may only be changed where the operator allows it"
        for path in changed
        if is_protected(path) and not limits.protected_allowed
    ]
    if len(changed) > limits.files:
        problems.append(f"more than {limits.files} files are changed")
    if total > limits.total_bytes:
        problems.append(f"the changed files have {total} bytes, the limit is {limits.total_bytes}")
    if problems:
        raise Refused("; ".join(problems[:MAX_PROBLEMS]))
    return dict(sorted(changed.items()))


def _check(path: str, content: bytes, snapshot: Snapshot) -> None:
    found = credentials(content)
    if not found:
        return
    # A credential that stood there before (a test's fixture) is not this agent's doing.
    before = _original(path, snapshot) if path in snapshot.files else b""
    kinds = sorted({kind for kind, secret in found if secret not in before})
    if kinds:
        raise Refused(f"{path} holds what looks like a credential ({', '.join(kinds)}); remove it")


def _original(path: str, snapshot: Snapshot) -> bytes:
    with tarfile.open(snapshot.archive, "r:gz") as archive:
        member = archive.extractfile(f"{snapshot.prefix}/{path}")
        return member.read() if member is not None else b""
