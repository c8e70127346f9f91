"""Connections to Redis, which holds nothing that PostgreSQL does not know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis.credentials import CredentialProvider

from database.aws import Password, cache_password


class _Login(CredentialProvider):
    """Asks for a new token with each new connection."""

    def __init__(self, url: str, password: Password) -> None:
        self._user = unquote(urlsplit(url).username or "")
        self._password = password

    async def get_credentials_async(self) -> tuple[str, str]:
        return self._user, await self._password()


@asynccontextmanager
async def open_redis(url: str, *, decoded: bool = True) -> AsyncIterator[redis.asyncio.Redis]:
    """A client with time-outs; it connects when it is used. Answers are text, or bytes where not `decoded`."""
    password = cache_password(url)
    client = redis.asyncio.from_url(
        url,
        credential_provider=None if password is None else _Login(url, password),
        decode_responses=decoded,
        socket_connect_timeout=5,
        socket_timeout=60,
        health_check_interval=30,
    )
    try:
        yield client
    finally:
        await client.aclose()
