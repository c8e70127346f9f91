"""`python -m database …` and `python -m runner …` as a person runs them, and how to catch one in the middle."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from database.connect import Connection
from tests.servers.conftest import Database


async def command(database: Database, *arguments: str, **variables: str) -> tuple[int | None, str, str]:
    """`python -m database …` as the owner, without an embedding model unless `variables` name one."""
    return await _run("database", *arguments, environment=_environment(database, **variables))


async def runner_command(database: Database, *arguments: str) -> tuple[int | None, str, str]:
    """`python -m runner …` with the same DATABASE_URL."""
    return await _run("runner", *arguments, environment=_environment(database))


def _environment(database: Database, **variables: str) -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database.url("agents_owner"),
        "EMBEDDING_MODEL": "none",
        **variables,
    }


async def _run(program: str, *arguments: str, environment: Mapping[str, str]) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program, *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 110)
    return process.returncode, out.decode(), err.decode()


# Not pg_stat_activity, of which a transaction sees one moment only.
_BLOCKED = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"


async def until_blocked(connection: Connection) -> None:
    """Return when some session of the server waits for a lock that another one holds."""
    async with asyncio.timeout(100):
        while not await connection.fetchval(_BLOCKED):
            await asyncio.sleep(0.01)
