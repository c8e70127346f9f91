"""How the rows of an export come into a table; agents first, since each is also a role and partitions of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from database.archive import Archive, Manifest, Part
from database.connect import AWAY, Connection
from database.registry import AT_ONCE, refuse_other_roles, unregister
from database.transfer_tables import SEEDED, Table, rows_that_move
from errors import InputError

# Without row-level security, which COPY FROM refuses; rows keep the order in which they came.
_STAGE = """
SELECT format('CREATE TEMPORARY TABLE %I AS SELECT %s FROM %I WITH NO DATA', $4::text, list, $1::text),
       format('ALTER TABLE %I ADD COLUMN staged_row bigint GENERATED ALWAYS AS IDENTITY', $4::text),
       format('INSERT INTO %I (%s) SELECT %s FROM %I %s', $1::text, list, list, $4::text,
              CASE WHEN $3 THEN 'ORDER BY staged_row' ELSE '' END),
       format('UPDATE agents SET (%s) = (SELECT %s) FROM staged_agents s WHERE s.agent_name = agents.agent_name',
              list, of_staged)
FROM (SELECT string_agg(format('%I', u.name), ', ' ORDER BY u.n) AS list,
             string_agg(format('s.%I', u.name), ', ' ORDER BY u.n) AS of_staged
      FROM unnest($2::text[]) WITH ORDINALITY AS u (name, n)) AS columns
"""
_UNSTAGE = "DROP TABLE staged"
_UNSTAGE_AGENTS = "DROP TABLE IF EXISTS staged_agents"
_CLEAR = "SELECT format('DELETE FROM %I WHERE %s', $1::text, $2::text)"


async def fill(connection: Connection, archive: Archive, part: Part, table: Table) -> None:
    """Bring one table in, in the caller's transaction. Raises InputError where the rows do not fit this database."""
    if part.table in SEEDED:
        await _clear(connection, table, archive.manifest)
    insert, _ = await _stage(connection, archive, part, table, "staged")
    try:
        await connection.execute(insert)
    except (*AWAY, asyncpg.InsufficientResourcesError):
        raise  # that says nothing about the rows
    except asyncpg.PostgresError as broken:
        raise _unfit(archive, part, broken) from broken
    await connection.execute(_UNSTAGE)


async def _clear(connection: Connection, table: Table, manifest: Manifest) -> None:
    condition = rows_that_move(table, whole=manifest.whole)
    assert condition is not None
    arguments = [list(manifest.agents)] if "$1" in condition else []
    await connection.execute(await connection.fetchval(_CLEAR, table.name, condition), *arguments)


async def _stage(
    connection: Connection, archive: Archive, part: Part, table: Table, name: str
) -> tuple[str, str]:
    """Copy a part into the temporary table `name`; the statements that insert it and that update known agents."""
    row = await connection.fetchrow(_STAGE, part.table, list(part.columns), table.numbered, name)
    assert row is not None
    create, number, insert, update_agents = row
    await connection.execute(create)
    await connection.execute(number)
    try:
        await connection.copy_to_table(
            name, source=archive.chunks(part), columns=list(part.columns), format="text"
        )
    except asyncpg.DataError as broken:
        raise _unfit(archive, part, broken) from broken
    return insert, update_agents


def _unfit(archive: Archive, part: Part, broken: asyncpg.PostgresError) -> InputError:
    return InputError(
        f"{part.table} does not fit this database: {broken}", "import into an empty one", file=archive.file
    )


@asynccontextmanager
async def staged_agents(
    connection: Connection, archive: Archive, part: Part, table: Table
) -> AsyncIterator[str]:
    """The agents of an export in the temporary table `staged_agents`; the statement that gives them their figures."""
    try:
        _, update = await _stage(connection, archive, part, table, "staged_agents")
        yield update
    finally:
        if not connection.is_closed():
            await connection.execute(_UNSTAGE_AGENTS)


_ROLES = "SELECT agent_name, role_name FROM staged_agents"
_UNKNOWN = """
SELECT agent_name, role_name, specialization, definition_digest FROM staged_agents s
WHERE NOT EXISTS (SELECT FROM agents a WHERE a.agent_name = s.agent_name) ORDER BY staged_row
"""
_REGISTER = "SELECT register_agent($1, $2, $3, $4)"


@asynccontextmanager
async def registered(connection: Connection) -> AsyncIterator[None]:
    """Register the agents of `staged_agents` that this database does not know, and open a transaction for the rest.

    So many at a time as PostgreSQL has locks for, and the last ones in that transaction; what goes wrong in it takes
    the others back. Raises InputError where an agent is known with another role.
    """
    roles = {row["agent_name"]: row["role_name"] for row in await connection.fetch(_ROLES)}
    await refuse_other_roles(connection, roles)
    unknown = await connection.fetch(_UNKNOWN)
    before: list[str] = []
    try:
        while len(unknown) > AT_ONCE:
            batch, unknown = unknown[:AT_ONCE], unknown[AT_ONCE:]
            before.extend(row["agent_name"] for row in batch)
            async with connection.transaction():
                await connection.executemany(_REGISTER, [tuple(row) for row in batch])
        async with connection.transaction():
            await connection.executemany(_REGISTER, [tuple(row) for row in unknown])
            yield
    except BaseException:
        if not connection.is_closed():
            await unregister(connection, before)
        raise
