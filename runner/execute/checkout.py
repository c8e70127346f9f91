"""A mission's own copy of the repository, in a folder that is gone afterwards however the mission ends.

FOLDER/                    0711, one per runner or shared by several
  .lock                    held while a checkout is made or stale ones are looked for
  <mission>-<random>/      locked as long as its runner lives
    source.tar.gz          as fetched; tool processes cannot open it
    tree/                  the repository
    home/                  HOME and TMPDIR of tool processes
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from errors import ExecutionError, SettingsError
from runner.execute import RepositorySource
from runner.execute.changes import Snapshot
from runner.execute.files import ConfinedFiles
from runner.execute.uncancelled import to_the_end
from runner.execute.unpack import UnpackLimits, unpack

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkout:
    """One mission's copy of the repository."""

    tree: Path
    home: Path
    files: ConfinedFiles
    snapshot: Snapshot


class Checkouts:
    """Makes checkouts in `folder`. `owner`: the user of tool processes, where it is another one."""

    def __init__(
        self,
        folder: Path,
        source: RepositorySource,
        *,
        owner: int | None = None,
        limits: UnpackLimits | None = None,
    ) -> None:
        self._folder = folder
        self._source = source
        self._owner = owner
        self._limits = limits or UnpackLimits()
        _prepare(folder)

    async def remove_stale(self) -> int:
        """Remove what killed runners left behind; how many checkouts that were."""
        return await to_the_end(asyncio.to_thread(self._remove_stale))

    @asynccontextmanager
    async def open(self, mission: UUID, repository: str) -> AsyncIterator[Checkout]:
        """The default branch as it is now. Raises ExecutionError when it cannot be unpacked."""
        folder, lock = self._make(mission)
        files: ConfinedFiles | None = None
        try:
            head = await self._source.head(repository)
            archive = folder / "source.tar.gz"
            await self._source.tarball(repository, head.sha, archive, self._limits.archive_bytes)
            tree, home = folder / "tree", folder / "home"
            for part in (tree, home):
                part.mkdir(mode=0o700)
                self._give(part)
            files = ConfinedFiles(tree, self._owner)
            snapshot = await to_the_end(
                asyncio.to_thread(unpack, archive, tree, files, head.sha, self._limits)
            )
            yield Checkout(tree, home, files, snapshot)
        finally:
            if files is not None:
                files.close()
            await to_the_end(asyncio.to_thread(_discard, folder))
            os.close(lock)

    def _make(self, mission: UUID) -> tuple[Path, int]:
        folder = self._folder / f"{mission}-{secrets.token_hex(4)}"
        with self._locked():
            folder.mkdir(mode=0o711)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return folder, lock

    def _remove_stale(self) -> int:
        stale: list[tuple[Path, int]] = []
        with self._locked():
            for folder in self._folder.iterdir():
                if folder.is_symlink() or not folder.is_dir():
                    continue
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # its runner is alive
                    os.close(lock)
                    continue
                stale.append((folder, lock))
        for folder, lock in stale:
            _discard(folder)
            os.close(lock)
        return len(stale)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _give(self, path: Path) -> None:
        if self._owner is not None:
            os.chown(path, self._owner, self._owner, follow_symlinks=False)


def _discard(folder: Path) -> None:
    # What cannot be removed must not undo the mission's result; the next start tries again.
    try:
        remove_tree(folder)
    except ExecutionError:
        log.exception("a checkout stays")


def remove_tree(folder: Path) -> None:
    """Remove `folder` and all below it, however deep, closed or oddly named.

    Folders are moved up before they are emptied: a hostile depth meets neither Python's recursion limit nor
    the kernel's limit of a path's length. No link is followed. Raises ExecutionError when something stays.
    """
    try:
        waiting = [folder]
        while waiting:
            current = waiting.pop()
            current.chmod(0o700)
            below: list[Path] = []
            with os.scandir(current) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(Path(entry.path))
                    else:
                        Path(entry.path).unlink()
            for path in below:
                path.chmod(0o700)  # a folder that is closed cannot be moved either
                waiting.append(path.rename(folder / f".removed-{secrets.token_hex(8)}"))
            if current != folder:
                current.rmdir()
        folder.rmdir()
    except OSError as error:
        raise ExecutionError(f"the checkout {folder} could not be removed: {error}") from error


def _prepare(folder: Path) -> None:
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = folder.lstat()
    others_write = stat.S_IMODE(found.st_mode) & 0o022
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or others_write:
        raise SettingsError(
            f"{folder} belongs to another user or can be written by others",
            "name a folder of the runner's own for checkouts",
        )
