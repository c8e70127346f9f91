"""The files of one checkout, reached component by component from its open folder and never through a link.

A tool process may have planted links, pipes or hard links; nothing here follows, blocks on or reads them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from runner.execute.paths import MAX_DEPTH, Refused, is_git_folder, repository_path

MAX_FILE_BYTES = 1_048_576
MAX_ENTRIES = 50_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the checkout: a regular `file`, a symbolic `link` with its target, or an `other`."""

    path: str
    kind: str
    target: str = ""


class ConfinedFiles:
    """Reads and writes below `root`. `owner`: the user of tool processes, where it is another one."""

    def __init__(self, root: Path, owner: int | None = None) -> None:
        self._root = os.open(root, _FOLDER)
        self._owner = owner

    def close(self) -> None:
        os.close(self._root)

    def read(self, path: str, limit: int = MAX_FILE_BYTES) -> bytes:
        """A regular file's content. Raises Refused when there is none or it is longer than `limit` bytes."""
        with self._opened(path) as file:
            content = b""
            while len(content) <= limit and (block := os.read(file, limit + 1 - len(content))):
                content += block
        if len(content) > limit:
            raise Refused(f"{path} has more than {limit} bytes")
        return content

    def digest(self, path: str) -> bytes:
        """SHA-256 of a regular file of any size."""
        digest = hashlib.sha256()
        with self._opened(path) as file:
            while block := os.read(file, 1 << 20):
                digest.update(block)
        return digest.digest()

    def write(self, path: str, content: bytes, *, new: bool, mode: int = 0o644) -> None:
        """Make a file (`new`: it may not exist yet) with its folders, or replace one and keep its mode."""
        with self._parent(path, make=new) as (folder, name):
            found = _stat(folder, name)
            if new and found is not None:
                raise Refused(f"{path} exists already; edit it, or delete it first")
            if not new and found is None:
                raise Refused(f"there is no file {path}")
            if found is not None:
                _regular(path, found)
                mode = stat.S_IMODE(found.st_mode) & 0o755
            # Written aside and moved over: a half-written file is never seen, and no link is written through.
            aside = f".agents-cloud-{secrets.token_hex(8)}"
            file = os.open(aside, _NEW, 0o600, dir_fd=folder)
            try:
                with os.fdopen(file, "wb") as target:
                    target.write(content)
                    os.fchmod(target.fileno(), mode)
                    self._give(target.fileno())
                os.replace(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(aside, dir_fd=folder)
                raise

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link, wherever it leads: nothing here follows one."""
        with self._parent(path, make=True) as (folder, name):
            os.symlink(target, name, dir_fd=folder)
            if self._owner is not None:
                os.chown(name, self._owner, self._owner, dir_fd=folder, follow_symlinks=False)

    def delete(self, path: str) -> None:
        """Remove one regular file. Raises Refused when there is none."""
        with self._parent(path) as (folder, name):
            found = _stat(folder, name)
            if found is None:
                raise Refused(f"there is no file {path}")
            _regular(path, found)
            os.unlink(name, dir_fd=folder)

    def list(self, path: str) -> tuple[str, ...] | None:
        """The sorted names in a folder (folders end in `/`), or None when `path` is not a folder."""
        try:
            folder = self._folder(repository_path(path))
        except (Refused, OSError):
            return None
        try:
            with os.scandir(folder) as found:
                return tuple(
                    sorted(
                        e.name + "/" * e.is_dir(follow_symlinks=False)
                        for e in found
                        if not is_git_folder(e.name)
                    )
                )
        finally:
            os.close(folder)

    def walk(self, skip: frozenset[str] = frozenset(), keep: frozenset[str] = frozenset()) -> Iterator[Entry]:
        """Everything below the root in a stable order, without git's folder.

        A folder whose name is in `skip` is left out unless its path is in `keep`.
        Raises Refused when there are more than MAX_ENTRIES things or MAX_DEPTH folders inside each other.
        """
        count = 0
        folders = [""]
        while folders:
            parent = folders.pop()
            if parent.count("/") + 1 >= MAX_DEPTH:
                raise Refused(f"folders are nested deeper than {MAX_DEPTH}")
            folder = self._folder(parent)
            try:
                with os.scandir(folder) as found:
                    for entry in sorted(found, key=lambda e: e.name):
                        count += 1
                        if count > MAX_ENTRIES:
                            raise Refused(f"the checkout holds more than {MAX_ENTRIES} files and folders")
                        path = f"{parent}/{entry.name}" if parent else entry.name
                        if is_git_folder(entry.name) or (entry.name in skip and path not in keep):
                            continue
                        if entry.is_symlink():
                            yield Entry(path, "link", os.readlink(entry.name, dir_fd=folder))
                        elif entry.is_dir(follow_symlinks=False):
                            folders.append(path)
                        else:
                            yield Entry(path, "file" if entry.is_file(follow_symlinks=False) else "other")
            finally:
                os.close(folder)

    @contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        with self._parent(path) as (folder, name):
            try:
                file = os.open(name, _FILE, dir_fd=folder)
            except FileNotFoundError:
                raise Refused(f"there is no file {path}") from None
            except OSError as error:
                raise Refused(f"{path} cannot be read: it is a link or not a regular file") from error
        try:
            _regular(path, os.fstat(file))
            yield file
        finally:
            os.close(file)

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        plain = repository_path(path)
        if not plain:
            raise Refused(f"{path!r} is the repository's root, not a file")
        above, _, name = plain.rpartition("/")
        folder = self._folder(above, make=make)
        try:
            yield folder, name
        except Refused:
            raise
        except OSError as error:
            raise Refused(f"{path} cannot be used: {error.strerror}") from error
        finally:
            os.close(folder)

    def _folder(self, path: str, *, make: bool = False) -> int:
        folder = os.dup(self._root)
        try:
            for name in path.split("/") if path else ():
                try:
                    below = os.open(name, _FOLDER, dir_fd=folder)
                except FileNotFoundError:
                    if not make:
                        raise
                    os.mkdir(name, 0o755, dir_fd=folder)
                    below = os.open(name, _FOLDER, dir_fd=folder)
                    self._give(below)
                os.close(folder)
                folder = below
        except FileNotFoundError:
            os.close(folder)
            raise Refused(f"there is no folder {path}") from None
        except OSError as error:
            os.close(folder)
            raise Refused(f"{path} is not a folder of the repository: a link, a file, or closed") from error
        return folder

    def _give(self, file: int) -> None:
        if self._owner is not None:
            os.fchown(file, self._owner, self._owner)


def _stat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _regular(path: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path} is not a regular file")
    # A second name could be a file from outside the checkout, hard-linked in by a tool process.
    if found.st_nlink != 1:
        raise Refused(f"{path} has more than one name; hard links are not allowed")
