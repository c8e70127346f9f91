"""Commands on whole databases work as the schema's owner, from whom no policy hides a row."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from database.connect import AWAY, Connection, open_connection
from errors import SettingsError, Unavailable

LOCAL_DATA = Path(".agents-cloud")  # where `python -m runner run` keeps its state unless told otherwise
# Without OSError itself, which a full disk raises too.
_CUT_OFF = (ConnectionError, *(away for away in AWAY if away is not OSError))
# asyncpg also raises these for a call that is wrong on a connection that is well.
_OWN_MISTAKES = (asyncpg.InterfaceError, asyncpg.InternalClientError)
_OWNED = """
SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('agent_memories')
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the data is. `redis_url` is empty where no Redis is known."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)


def find_servers(data: Path | None, environment: Mapping[str, str] = os.environ) -> Servers:
    """DATABASE_URL and REDIS_URL, or what runs on the data folder of `python -m runner run`. Raises SettingsError."""
    url = environment.get("DATABASE_URL", "")
    if url and data is None:
        return Servers(url, environment.get("REDIS_URL", ""))
    file = (data or LOCAL_DATA) / "running.json"
    try:
        running = json.loads(file.read_text())
        return Servers(running["owner_database_url"], running["redis_url"])
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise SettingsError(
            f"DATABASE_URL is not set and nothing runs on {file.parent}",
            "set it to postgresql://agents_owner:PASSWORD@HOST/DATABASE, or name the data folder with --data",
        ) from broken


@asynccontextmanager
async def open_owner(url: str) -> AsyncIterator[Connection]:
    """One connection as the owner of a migrated schema.

    Raises SettingsError where it is another role's, Unavailable where the server does not answer or goes away;
    an open transaction is undone then.
    """
    async with open_connection(url) as connection:
        try:
            owned = await connection.fetchval(_OWNED)
            if owned is None:
                raise SettingsError("the database has no schema yet", "run `python -m database migrate`")
            if not owned:
                raise SettingsError(
                    "policies hide rows from this role", "connect as the owner of the schema (agents_owner)"
                )
            yield connection
        except _CUT_OFF as away:
            if isinstance(away, _OWN_MISTAKES) and not connection.is_closed():
                raise
            raise Unavailable(
                f"PostgreSQL went away ({type(away).__name__}); nothing is half done, run the command again"
            ) from away
