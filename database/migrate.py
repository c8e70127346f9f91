"""Numbered SQL files, each applied once, in order, under a lock; run by one job before new runners."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from database.connect import Connection
from errors import InputError

FOLDER = Path(__file__).parent / "migrations"
OLDEST_SERVER = 16
# 0.8.4 mends HNSW indexes that VACUUM could corrupt (pgvector's CHANGELOG).
OLDEST_VECTOR = (0, 8, 4)
_LOCK = 0x6167656E7473  # "agents"; any number that nobody else takes
_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema and, where there is one, its way back."""

    number: int
    name: str
    up: str
    down: str | None

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.up.encode()).hexdigest()


def load_migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """The migrations in `folder`, by number. Raises InputError where a number is doubled or left out."""
    found = []
    for file in sorted(folder.glob("*.sql")):
        if file.name.endswith(".down.sql"):
            continue
        match = _FILE.fullmatch(file.name)
        if match is None:
            raise InputError(
                f"{file.name!r} is no migration's name", "name it NNNN_what_it_does.sql", file=file
            )
        down = file.with_suffix(".down.sql")
        found.append(
            Migration(int(match[1]), match[2], file.read_text(), down.read_text() if down.exists() else None)
        )
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise InputError(
                f"migration {migration.number:04} stands where {expected:04} belongs", "renumber", file=folder
            )
    return tuple(found)


_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""
_APPLIED = "SELECT number, name, digest FROM schema_migrations ORDER BY number"
_ADD = "INSERT INTO schema_migrations (number, name, digest) VALUES ($1, $2, $3)"
_REMOVE = "DELETE FROM schema_migrations WHERE number = $1"
_VECTOR = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"


async def migrate(
    connection: Connection,
    *,
    to: int | None = None,
    migrations: tuple[Migration, ...] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> int:
    """Bring the schema to migration `to` (default: the newest), up or down; the number of steps taken.

    Safe to run twice at once: the second waits and finds nothing to do. Raises InputError where an applied
    migration was edited, a step has no way back, or server or pgvector are too old.
    """
    migrations = load_migrations() if migrations is None else migrations
    target = len(migrations) if to is None else to
    if not 0 <= target <= len(migrations):
        raise InputError(f"there is no migration {target}", f"choose 0 to {len(migrations)}")
    if connection.get_server_version().major < OLDEST_SERVER:
        raise InputError(
            f"PostgreSQL {connection.get_server_version().major}", f"upgrade to {OLDEST_SERVER} or newer"
        )
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(_CREATE_TABLE)
        applied = await connection.fetch(_APPLIED)
        for row, known in zip(applied, migrations, strict=False):
            if row["digest"] != known.digest:
                raise InputError(
                    f"migration {row['number']:04}_{row['name']} was edited after it was applied",
                    "restore the file and put the change into a new migration",
                )
        if len(applied) > len(migrations):
            raise InputError(
                f"the database is at migration {len(applied)}, this code knows {len(migrations)}",
                "run the newer code (old runners may go on)",
            )
        steps = 0
        for migration in migrations[len(applied) : target]:
            async with connection.transaction():
                await connection.execute(migration.up)
                await connection.execute(_ADD, migration.number, migration.name, migration.digest)
            report(f"applied {migration.number:04}_{migration.name}")
            steps += 1
        for migration in reversed(migrations[target : len(applied)]):
            if migration.down is None:
                raise InputError(
                    f"migration {migration.number:04} has no way back", "restore a backup instead"
                )
            async with connection.transaction():
                await connection.execute(migration.down)
                await connection.execute(_REMOVE, migration.number)
            report(f"took back {migration.number:04}_{migration.name}")
            steps += 1
        await _check_vector(connection)
        return steps
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _check_vector(connection: Connection) -> None:
    version = await connection.fetchval(_VECTOR)
    if version is not None and tuple(int(part) for part in version.split(".")) < OLDEST_VECTOR:
        wanted = ".".join(map(str, OLDEST_VECTOR))
        raise InputError(f"pgvector {version} is older than {wanted}", "ALTER EXTENSION vector UPDATE")
