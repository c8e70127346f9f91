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
from database.connect import Connection
from database.transfer_tables import SEEDED, Table, reading, rows_that_move, tables_in_order
from errors import InputError

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


_LOCK = "SELECT pg_advisory_xact_lock(hashtext('import'))"
_DONE = "SELECT imported_at FROM imports WHERE export_id = $1"
_NOTE = "INSERT INTO imports (export_id) VALUES ($1)"


async def import_archive(connection: Connection, archive: Archive, advance: Advance = lambda _: None) -> bool:
    """Bring all of an export into this database in one transaction, as the schema's owner; False: it is here already.

    Agents are registered as they arrive. At the end every table is read back and must have the exported checksum.
    `advance` gets bytes as they are taken in. Raises InputError where the file is damaged, the schema is too old,
    or the database holds other data.
    """
    archive.verify()
    manifest = archive.manifest
    async with connection.transaction():
        await connection.execute(_PLAIN_TEXT)
        await connection.execute(_LOCK)
        if await connection.fetchval(_DONE, manifest.export_id) is not None:
            return False
        tables = {table.name: table for table in await tables_in_order(connection)}
        _check_schema(archive, tables)
        for part in manifest.parts:
            await _check_room(connection, tables[part.table], manifest)
        # In the order of the export: here a partition's foreign keys stand only once its agent is registered.
        for part in manifest.parts:
            if part.table in SEEDED and part.table != "agents":
                await _clear(connection, tables[part.table], manifest)
            await _fill(connection, archive, part, tables[part.table])
            advance(part.bytes)
        for part in manifest.parts:
            await _check_arrived(connection, tables[part.table], part, archive)
        await connection.execute(_NOTE, manifest.export_id)
    for part in manifest.parts:
        await connection.execute(await connection.fetchval(_ANALYZE, part.table))
    return True


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


_COUNT = "SELECT format('SELECT count(*) FROM %I WHERE %s', $1::text, $2::text)"
_CLEAR = "SELECT format('DELETE FROM %I WHERE %s', $1::text, $2::text)"


async def _check_room(connection: Connection, table: Table, manifest: Manifest) -> None:
    if table.name in SEEDED:
        return
    condition = rows_that_move(table, whole=manifest.whole)
    assert condition is not None
    arguments = [list(manifest.agents)] if "$1" in condition else []
    query = await connection.fetchval(_COUNT, table.name, condition)
    rows: int = await connection.fetchval(query, *arguments)
    if rows:
        raise InputError(
            f"this database has {rows} rows of its own in {table.name}",
            "import into an empty database"
            if manifest.whole
            else "erase the agent here first, or import into another database",
        )


async def _clear(connection: Connection, table: Table, manifest: Manifest) -> None:
    condition = rows_that_move(table, whole=manifest.whole)
    assert condition is not None
    arguments = [list(manifest.agents)] if "$1" in condition else []
    await connection.execute(await connection.fetchval(_CLEAR, table.name, condition), *arguments)


# Without row-level security, which COPY FROM refuses; rows keep the order in which they came.
_STAGE = """
SELECT format('CREATE TEMPORARY TABLE staged ON COMMIT DROP AS SELECT %s FROM %I WITH NO DATA', list, $1::text),
       format('ALTER TABLE staged ADD COLUMN staged_row bigint GENERATED ALWAYS AS IDENTITY'),
       format('INSERT INTO %I (%s) SELECT %s FROM staged %s', $1::text, list, list,
              CASE WHEN $3 THEN 'ORDER BY staged_row' ELSE '' END),
       format('UPDATE agents SET (%s) = (SELECT %s) FROM staged s WHERE s.agent_name = agents.agent_name',
              list, of_staged)
FROM (SELECT string_agg(format('%I', u.name), ', ' ORDER BY u.n) AS list,
             string_agg(format('s.%I', u.name), ', ' ORDER BY u.n) AS of_staged
      FROM unnest($2::text[]) WITH ORDINALITY AS u (name, n)) AS columns
"""
_REGISTER = """
SELECT register_agent(agent_name, role_name, specialization, definition_digest) FROM staged ORDER BY staged_row
"""
_UNSTAGE = "DROP TABLE staged"


async def _fill(connection: Connection, archive: Archive, part: Part, table: Table) -> None:
    row = await connection.fetchrow(_STAGE, part.table, list(part.columns), table.numbered)
    assert row is not None
    stage, number, insert, update_agents = row
    await connection.execute(stage)
    await connection.execute(number)
    try:
        await connection.copy_to_table(
            "staged", source=archive.chunks(part), columns=list(part.columns), format="text"
        )
        if part.table == "agents":
            await connection.execute(_REGISTER)
            await connection.execute(update_agents)
        else:
            await connection.execute(insert)
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as broken:
        raise InputError(
            f"{part.table} does not fit this database: {broken}",
            "import into an empty one",
            file=archive.file,
        ) from broken
    await connection.execute(_UNSTAGE)


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
