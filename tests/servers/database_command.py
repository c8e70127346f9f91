"""`python -m database …` and `python -m runner …` as a person runs them, and how to catch one in the middle."""

from __future__ import annotations

import asyncio
import errno
import os
import pty
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


async def on_terminal(database: Database, *arguments: str) -> tuple[int | None, str, str]:
    """As `command`, where standard error is a terminal; what was shown there comes last."""
    terminal, end = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "database", *arguments),
            env=_environment(database, TERM="xterm", COLUMNS="100"),
            stdout=asyncio.subprocess.PIPE,
            stderr=end,
        )
    finally:
        os.close(end)
    shown = asyncio.create_task(asyncio.to_thread(_read_terminal, terminal))
    out, _ = await asyncio.wait_for(process.communicate(), 110)
    return process.returncode, out.decode(), (await shown).decode()


def _read_terminal(terminal: int) -> bytes:
    """All that is written to it, and close it."""
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError as ended:
        if ended.errno != errno.EIO:  # Linux says so when nobody has the other end open any more
            raise
    finally:
        os.close(terminal)
    return b"".join(parts)


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
