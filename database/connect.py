"""Connections to PostgreSQL. They are a budget: a small RDS has about 400, so pools are small and shrink to none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeAlias

import asyncpg

from database.aws import database_password
from errors import SettingsError, Unavailable

Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 30.0
IDLE_SECONDS = 1.0  # then the pool closes a connection: 660 runners share 400
SERVER_SETTINGS = {
    # Of recall, where an index answers: it goes on until enough rows pass, and looks at more than it must.
    "hnsw.iterative_scan": "relaxed_order",
    "hnsw.ef_search": "150",
    # No disk has to seek. At PostgreSQL's 4 it scans partitions of up to 4,000 vectors although an index is faster.
    "random_page_cost": "1.1",
}
# What asyncpg raises when the server is away, restarting or cut off; all of it may pass.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # what a connection that was cut in the middle of an answer may raise
)
# What it raises when the server does not let this role in, or not to what it asks for.
_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)


async def keep_session(connection: object) -> None:
    """No statement here leaves anything in its session, and asyncpg ends open transactions itself: the query that it
    would send after every other query is saved."""


@asynccontextmanager
async def open_pool(url: str, *, most: int, application: str) -> AsyncIterator[Pool]:
    """A pool of at most `most` connections that holds none while idle; it does not connect yet."""
    pool = asyncpg.create_pool(
        url,
        password=database_password(url),
        min_size=0,
        max_size=most,
        max_inactive_connection_lifetime=IDLE_SECONDS,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        reset=keep_session,
        server_settings={**SERVER_SETTINGS, "application_name": application},
    )
    await pool
    try:
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), CONNECT_SECONDS)
        except TimeoutError:
            pool.terminate()


@contextmanager
def failures_named() -> Iterator[None]:
    """Raises Unavailable where the server does not answer, SettingsError where it refuses the role."""
    try:
        yield
    except AWAY as away:
        why = str(away) or type(away).__name__
        raise Unavailable(
            f"PostgreSQL does not answer ({why}); check DATABASE_URL and that it runs"
        ) from away
    except _REFUSED as refused:
        raise SettingsError(
            f"PostgreSQL refuses it: {refused}", "check role, password and database in DATABASE_URL"
        ) from refused


@asynccontextmanager
async def open_connection(url: str) -> AsyncIterator[Connection]:
    """One connection, for a command. Raises Unavailable and SettingsError, as `failures_named`, while connecting."""
    with failures_named():
        connection = await asyncpg.connect(
            url,
            password=database_password(url),
            timeout=CONNECT_SECONDS,
            server_settings=SERVER_SETTINGS,
        )
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_SECONDS)
