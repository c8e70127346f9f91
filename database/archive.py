"""The file of an export: a ZIP with one member of COPY text per table, and a manifest that is written last."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from errors import InputError

FORMAT = 1
_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 16 * 1024 * 1024
_CHUNK = 1024 * 1024
_EXPORT_AGAIN = "copy it again, or export again"


@dataclass(frozen=True, slots=True)
class Part:
    """One table: what was exported of it, and what it must be after the import. `sha256` is of the COPY text."""

    table: str
    columns: tuple[str, ...]
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the archive holds. `whole`: the whole database, else only what belongs to `agents`."""

    export_id: UUID
    made_at: str
    """ISO 8601, UTC."""
    migration: int
    whole: bool
    agents: tuple[str, ...]
    parts: tuple[Part, ...]


Copy = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[int]]


class ArchiveWriter:
    """Adds tables to an archive that is being written."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    async def add(self, table: str, columns: Sequence[str], copy: Copy) -> Part:
        """Add what `copy` hands to the function it gets; it answers how many rows that were."""
        digest, size = hashlib.sha256(), 0
        with self._archive.open(table, "w", force_zip64=True) as member:

            async def write(data: bytes) -> None:
                nonlocal size
                digest.update(data)
                size += len(data)
                member.write(data)

            rows = await copy(write)
        return Part(table, tuple(columns), rows, size, digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest; without it the file is no export."""
        document = {"format": FORMAT, **asdict(manifest), "export_id": str(manifest.export_id)}
        self._archive.writestr(_MANIFEST, json.dumps(document, indent=2))


@contextmanager
def write_archive(file: Path) -> Iterator[ArchiveWriter]:
    """A new archive, readable for its owner alone; it appears under its name when it is complete.

    Raises InputError where the file exists or cannot be written.
    """
    if file.exists():
        raise InputError("it exists already", "choose another name, or remove it", file=file)
    unfinished = file.with_name(file.name + ".part")
    try:
        unfinished.unlink(missing_ok=True)  # of a run that was killed
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                    yield ArchiveWriter(archive)
                raw.flush()
                os.fsync(raw.fileno())
            unfinished.rename(file)
        finally:
            unfinished.unlink(missing_ok=True)
    except (ConnectionError, TimeoutError):  # the database's, not the disk's
        raise
    except OSError as broken:
        raise InputError(
            f"it cannot be written: {broken.strerror}", "choose a folder with space", file=file
        ) from broken


class Archive:
    """An export that is complete: every table's bytes have the checksum that the manifest states."""

    def __init__(self, file: Path, archive: zipfile.ZipFile) -> None:
        self.file = file
        self._archive = archive
        self.manifest = self._read_manifest()

    def verify(self) -> None:
        """Read all of it once. Raises InputError where a byte differs from what was exported."""
        for part in self.manifest.parts:
            digest, size = hashlib.sha256(), 0
            try:
                with self._archive.open(part.table) as member:
                    while chunk := member.read(_CHUNK):
                        size += len(chunk)
                        if size > part.bytes:
                            break
                        digest.update(chunk)
            except (KeyError, OSError, zipfile.BadZipFile, zlib.error) as broken:
                raise self._damaged(f"{part.table} cannot be read ({broken})") from broken
            if size != part.bytes or digest.hexdigest() != part.sha256:
                raise self._damaged(f"the checksum of {part.table} is wrong")

    async def chunks(self, part: Part) -> AsyncIterator[bytes]:
        """The COPY text of one table."""
        with self._archive.open(part.table) as member:
            while chunk := member.read(_CHUNK):
                yield chunk

    def _read_manifest(self) -> Manifest:
        try:
            if self._archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST_BYTES:
                raise self._damaged("its manifest is too large")
            document: dict[str, Any] = json.loads(self._archive.read(_MANIFEST))
            if document.pop("format") != FORMAT:
                raise InputError(
                    "it has another format", "import it with the version that wrote it", file=self.file
                )
            document["export_id"] = UUID(document["export_id"])
            document["agents"] = tuple(document["agents"])
            document["parts"] = tuple(
                Part(**{**part, "columns": tuple(part["columns"])}) for part in document["parts"]
            )
            return Manifest(**document)
        except (KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as broken:
            raise self._damaged("its manifest cannot be read") from broken

    def _damaged(self, how: str) -> InputError:
        return InputError(f"it is damaged: {how}", _EXPORT_AGAIN, file=self.file)


@contextmanager
def read_archive(file: Path) -> Iterator[Archive]:
    """An archive to import from. Raises InputError where it is not a complete export."""
    try:
        archive = zipfile.ZipFile(file)
    except OSError as broken:
        raise InputError(f"it cannot be read: {broken.strerror}", "check the path", file=file) from broken
    except zipfile.BadZipFile as broken:
        raise InputError("it is no complete export", _EXPORT_AGAIN, file=file) from broken
    with archive:
        yield Archive(file, archive)
