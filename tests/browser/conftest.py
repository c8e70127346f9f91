"""A browser for the ring, and the whole system behind the page that it opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.browser.chromium import Browser, chromium
from tests.servers.conftest import database, postgres_server, redis_server
from tests.servers.system import System, open_system

__all__ = ["database", "postgres_server", "redis_server"]


@pytest_asyncio.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium(tmp_path / "profile") as browser:
        yield browser


@pytest_asyncio.fixture
async def system(database, redis_server, tmp_path) -> AsyncIterator[System]:
    """Gateway and runners that work, in this process; the local GitHub, PostgreSQL and Redis are servers."""
    async with open_system(database, redis_server, tmp_path) as system:
        await system.start_gateway()
        system.start_runners()
        yield system
