"""The file of an export: a ZIP with one member of COPY text per table, and a manifest that is written last.

The ZIP's comment is the SHA-256 of all bytes before it: a part's checksum says nothing of the ZIP's own fields.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from errors import InputError

FORMAT = 2
_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 16 * 1024 * 1024
_CHUNK = 1024 * 1024
_EXPORT_AGAIN = "copy it again, or export again"
_NO_DIGEST = b"0" * 64
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
# What zipfile, zlib and json raise on bytes that nobody wrote.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    LookupError,
    ValueError,  # of texts, numbers and JSON
    TypeError,
    AttributeError,
    RuntimeError,  # an unknown compression, encryption, or JSON that is nested too deep
    OverflowError,
)


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
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w+b") as raw:
                with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                    yield ArchiveWriter(archive)
                    archive.comment = _NO_DIGEST
                raw.seek(0)
                digest = _digest(raw)
                raw.seek(-len(_NO_DIGEST), os.SEEK_END)
                raw.write(digest)
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


def _digest(file: IO[bytes]) -> bytes:
    """Of all but the last bytes, where it stands itself."""
    digest = hashlib.sha256()
    left = os.fstat(file.fileno()).st_size - len(_NO_DIGEST)
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest().encode()


class Archive:
    """An export that is complete: every byte is as it was written, every table's as the manifest states."""

    def __init__(self, file: Path, raw: IO[bytes], archive: zipfile.ZipFile) -> None:
        self.file = file
        self._raw = raw
        self._archive = archive
        self.manifest = self._read_manifest()

    def verify(self) -> None:
        """Read all of it, keeping nothing. Raises InputError where a byte differs from what was exported."""
        names = sorted(self._archive.namelist())
        if names != sorted([_MANIFEST, *(part.table for part in self.manifest.parts)]):
            raise self._damaged("its members are not those of its manifest, each once")
        for part in self.manifest.parts:
            digest, size = hashlib.sha256(), 0
            for chunk in self._read(part):
                size += len(chunk)
                digest.update(chunk)
            if size != part.bytes or digest.hexdigest() != part.sha256:
                raise self._damaged(f"the checksum of {part.table} is wrong")
        with self._reading("it"):
            self._raw.seek(0)
            whole = _digest(self._raw)
        if whole != self._archive.comment:
            raise self._damaged("the checksum of the whole file is wrong")

    async def chunks(self, part: Part) -> AsyncIterator[bytes]:
        """The COPY text of one table."""
        for chunk in self._read(part):
            yield chunk

    def _read(self, part: Part) -> Iterator[bytes]:
        """No more of it than the manifest states, however much the ZIP would unpack to."""
        with self._reading(part.table), self._open(part.table) as member:
            left = part.bytes
            while left > 0 and (chunk := member.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
            if member.read(1):
                raise self._damaged(f"{part.table} is larger than its manifest says")

    def _open(self, name: str) -> IO[bytes]:
        # Of the others, zipfile unpacks more at once than it is asked for.
        if self._archive.getinfo(name).compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
            raise self._damaged(f"{name} is compressed in another way than an export's members")
        return self._archive.open(name)

    def _read_manifest(self) -> Manifest:
        with self._reading("its manifest"):
            with self._open(_MANIFEST) as member:
                text = member.read(_MAX_MANIFEST_BYTES + 1)
            if len(text) > _MAX_MANIFEST_BYTES:
                raise self._damaged("its manifest is too large")
            document: dict[str, Any] = json.loads(text)
            if document.pop("format") != FORMAT:
                raise InputError(
                    "it has another format", "import it with the version that wrote it", file=self.file
                )
            parts = [Part(**{**part, "columns": tuple(part["columns"])}) for part in document.pop("parts")]
            manifest = Manifest(
                **{
                    **document,
                    "export_id": UUID(document["export_id"]),
                    "agents": tuple(document["agents"]),
                    "parts": tuple(parts),
                }
            )
        if not _is_sound(manifest):
            raise self._damaged("its manifest holds what no export writes")
        return manifest

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except _BROKEN as broken:
            raise self._damaged(f"{what} cannot be read ({type(broken).__name__}: {broken})") from broken

    def _damaged(self, how: str) -> InputError:
        return InputError(f"it is damaged: {how}", _EXPORT_AGAIN, file=self.file)


def _is_sound(manifest: Manifest) -> bool:
    """Whether each field is of its type; a table's name is never a path."""
    texts = [manifest.made_at, *manifest.agents, *(c for part in manifest.parts for c in part.columns)]
    numbers = [manifest.migration, *(n for part in manifest.parts for n in (part.rows, part.bytes))]
    return (
        all(type(text) is str for text in texts)
        and all(type(number) is int and number >= 0 for number in numbers)
        and type(manifest.whole) is bool
        and all(type(part.sha256) is str and part.columns for part in manifest.parts)
        and all(type(part.table) is str and _TABLE.fullmatch(part.table) for part in manifest.parts)
        and len({part.table for part in manifest.parts}) == len(manifest.parts)
        and any(part.table == "agents" for part in manifest.parts)
    )


@contextmanager
def read_archive(file: Path) -> Iterator[Archive]:
    """An archive to import from. Raises InputError where it is not a complete export."""
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(file.open("rb"))
        except OSError as broken:
            raise InputError(f"it cannot be read: {broken.strerror}", "check the path", file=file) from broken
        try:
            archive = stack.enter_context(zipfile.ZipFile(raw))
        except _BROKEN as broken:
            raise InputError("it is no complete export", _EXPORT_AGAIN, file=file) from broken
        yield Archive(file, raw, archive)
