"""Moves everything, or one agent's share, between any two databases; checked to the byte on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg

from database.archive import Archive, Manifest, Part, write_archive
from database.arrivals import fill, registered, staged_agents
from database.connect import Connection
from database.transfer_tables import SEEDED, Table, reading, rows_that_move, tables_in_order
from errors import InputError, Unavailable

# The same value is written the same way by every server and session.
_PLAIN_TEXT = """
SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'
"""
_MIGRATION = "SELECT coalesce(max(number), 0) FROM schema_migrations"
_AGENTS = "SELECT agent_name FROM agents ORDER BY agent_name"
_LIVE = "SELECT count(*) FROM missions WHERE state IN ('waiting', 'queued', 'running') AND ($1 OR agent_name = ANY($2))"


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds. `live_missions` would be worked on both sides if both run."""

    manifest: Manifest
    live_missions: int


Advance = Callable[[int], None]


async def export(
    connection: Connection, file: Path, agents: Sequence[str] = (), advance: Advance = lambda _: None
) -> Exported:
    """Write everything as of this moment to `file`, or with `agents` what belongs to them; as the schema's owner.

    `advance` gets bytes as they are written. Raises InputError where an agent is unknown or the file exists.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(_PLAIN_TEXT)
        known = [row["agent_name"] for row in await connection.fetch(_AGENTS)]
        for agent in agents:
            if agent not in known:
                raise InputError(f"no agent is called {agent!r}", f"choose of {', '.join(known)[:500]}")
        whole, names = not agents, tuple(agents or known)
        with write_archive(file) as archive:
            parts = []
            for table in await tables_in_order(connection):
                condition = rows_that_move(table, whole=whole)
                if condition is not None:
                    copy = await _copying(connection, table, table.columns, condition, names, advance)
                    parts.append(await archive.add(table.name, table.columns, copy))
            manifest = Manifest(
                export_id=uuid4(),
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
                migration=await connection.fetchval(_MIGRATION),
                whole=whole,
                agents=names,
                parts=tuple(parts),
            )
            archive.finish(manifest)
        return Exported(manifest, await connection.fetchval(_LIVE, whole, list(names)))


async def _copying(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    condition: str,
    agents: Sequence[str],
    advance: Advance = lambda _: None,
) -> Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[int]]:
    query = await reading(connection, table, columns, condition)
    arguments = [list(agents)] if "$1" in condition else []

    async def copy(write: Callable[[bytes], Awaitable[None]]) -> int:
        async def output(data: bytes) -> None:
            await write(data)
            advance(len(data))

        status: str = await connection.copy_from_query(query, *arguments, output=output, format="text")
        return int(status.rsplit(" ", 1)[1])

    return copy


_LOCK = "SELECT pg_advisory_lock(hashtext('import'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('import'))"
_DONE = "SELECT imported_at FROM imports WHERE export_id = $1"
_NOTE = "INSERT INTO imports (export_id) VALUES ($1)"


async def import_archive(connection: Connection, archive: Archive, advance: Advance = lambda _: None) -> bool:
    """Bring all of an export into this database, or nothing, as the schema's owner; False: it is here already.

    Agents are registered as they arrive, the rest is one transaction. At its end every table is read back and must
    have the exported checksum. `advance` gets bytes as they are taken in. Raises InputError where the file is damaged,
    the schema is too old, or the database holds other data, Unavailable where the server lacks room.
    """
    archive.verify()
    await connection.execute(_LOCK)
    try:
        if await connection.fetchval(_DONE, archive.manifest.export_id) is not None:
            return False
        await _import(connection, archive, advance)
    except asyncpg.InsufficientResourcesError as full:
        raise Unavailable(f"PostgreSQL has no room, and nothing was imported: {full}") from full
    finally:
        if not connection.is_closed():
            await connection.execute(_UNLOCK)
    for part in archive.manifest.parts:
        await connection.execute(await connection.fetchval(_ANALYZE, part.table))
    return True


async def _import(connection: Connection, archive: Archive, advance: Advance) -> None:
    manifest = archive.manifest
    tables = {table.name: table for table in await tables_in_order(connection)}
    _check_schema(archive, tables)
    await _check_room(connection, tables, manifest)
    agents = next(part for part in manifest.parts if part.table == "agents")
    async with (
        staged_agents(connection, archive, agents, tables["agents"]) as update_agents,
        registered(connection),
    ):
        await connection.execute(_PLAIN_TEXT)
        await _check_room(connection, tables, manifest)
        await connection.execute(update_agents)
        advance(agents.bytes)
        for part in manifest.parts:
            if part is not agents:
                await fill(connection, archive, part, tables[part.table])
                advance(part.bytes)
        for part in manifest.parts:
            await _check_arrived(connection, tables[part.table], part, archive)
        await connection.execute(_NOTE, manifest.export_id)


_ANALYZE = "SELECT format('ANALYZE %I', $1::text)"


def _check_schema(archive: Archive, tables: dict[str, Table]) -> None:
    for part in archive.manifest.parts:
        missing = set(part.columns) - set(tables[part.table].columns if part.table in tables else ())
        if missing:
            raise InputError(
                f"{part.table}.{sorted(missing)[0]} does not exist in this database",
                f"bring it to migration {archive.manifest.migration} first: `python -m database migrate`",
                file=archive.file,
            )
        if rows_that_move(tables[part.table], whole=archive.manifest.whole) is None:
            raise InputError(f"{part.table} is no agent's own", "export again", file=archive.file)


_COUNT = "SELECT format('SELECT count(*) FROM %I WHERE %s', $1::text, $2::text)"


async def _check_room(connection: Connection, tables: dict[str, Table], manifest: Manifest) -> None:
    for table in (tables[part.table] for part in manifest.parts):
        if table.name in SEEDED:
            continue
        condition = rows_that_move(table, whole=manifest.whole)
        assert condition is not None
        arguments = [list(manifest.agents)] if "$1" in condition else []
        query = await connection.fetchval(_COUNT, table.name, condition)
        rows: int = await connection.fetchval(query, *arguments)
        if rows:
            raise InputError(
                f"this database has {rows} rows of its own in {table.name}",
                "import into an empty database; what this one holds is dropped by `python -m database migrate --to 0`"
                " and a `migrate` after it"
                if manifest.whole
                else "erase the agent here first, or import into another database",
            )


async def _check_arrived(connection: Connection, table: Table, part: Part, archive: Archive) -> None:
    """What stands here now is what was exported: the same rows, written the same way, give the same checksum."""
    manifest = archive.manifest
    condition = rows_that_move(table, whole=manifest.whole)
    assert condition is not None
    digest = hashlib.sha256()

    async def take(data: bytes) -> None:
        digest.update(data)

    rows = await (await _copying(connection, table, part.columns, condition, manifest.agents))(take)
    if rows != part.rows or digest.hexdigest() != part.sha256:
        raise InputError(
            f"{part.table} arrived as {rows} rows with another checksum than the {part.rows} exported",
            "nothing was imported; report this with both versions of PostgreSQL and pgvector",
            file=archive.file,
        )
