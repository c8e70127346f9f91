"""Real PostgreSQL and Redis for a session of tests, a fresh database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest_asyncio

from database.connect import Connection, Pool, open_connection, open_pool
from database.migrate import migrate
from database.registry import Registration, register_agents, set_passwords
from runner.local.embedded import EmbeddedPostgres, EmbeddedRedis

PASSWORD = "of-the-tests"
_numbers = count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(tmp_path_factory) -> AsyncIterator[EmbeddedPostgres]:
    """One PostgreSQL for all tests, with the owner role and a migrated template."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg") / "data", password=PASSWORD, durable=False)
    await server.start()
    await make_template(server)
    yield server
    await server.stop()


async def make_template(server: EmbeddedPostgres) -> None:
    """The owner role, and a database `template` with the whole schema."""
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute("CREATE ROLE agents_owner LOGIN CREATEROLE")
        await set_passwords(superuser, {"agents_owner": PASSWORD})
        await superuser.execute("CREATE DATABASE template OWNER agents_owner")
    async with open_connection(server.url("postgres", PASSWORD, "template")) as superuser:
        await superuser.execute("CREATE EXTENSION vector")
    async with open_connection(server.url("agents_owner", PASSWORD, "template")) as owner:
        await migrate(owner)
        await set_passwords(owner, {"gateway": PASSWORD})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(tmp_path_factory) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis") / "data", password=PASSWORD)
    await server.start()
    yield server
    await server.stop()


@dataclass(frozen=True, slots=True)
class Database:
    """One test's database, reachable as each role that exists in a deployment."""

    server: EmbeddedPostgres
    name: str

    def url(self, role: str) -> str:
        return self.server.url(role, PASSWORD, self.name)

    def agent_url(self, agent: str) -> str:
        return self.url(f"agent-{agent.lower()}")

    def connect(self, role: str) -> AbstractAsyncContextManager[Connection]:
        return open_connection(self.url(role))

    def connect_agent(self, agent: str) -> AbstractAsyncContextManager[Connection]:
        return open_connection(self.agent_url(agent))

    def pool(self, role: str, most: int = 4) -> AbstractAsyncContextManager[Pool]:
        return open_pool(self.url(role), most=most, application="test")

    def agent_pool(self, agent: str, most: int = 2) -> AbstractAsyncContextManager[Pool]:
        return open_pool(self.agent_url(agent), most=most, application="test")

    async def register(self, *agents: str) -> None:
        async with self.connect("agents_owner") as owner:
            registrations = [Registration(name, name.lower(), f"{name} work", "0") for name in agents]
            await register_agents(owner, registrations)
            await set_passwords(owner, {registration.role: PASSWORD for registration in registrations})


@pytest_asyncio.fixture
async def empty_database(postgres_server: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database with the extension and no schema."""
    async with fresh_database(postgres_server, "template0") as database:
        async with open_connection(database.url("postgres")) as superuser:
            await superuser.execute("CREATE EXTENSION vector")
        yield database


@pytest_asyncio.fixture
async def database(postgres_server: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database with the whole schema and no agents."""
    async with fresh_database(postgres_server) as database:
        yield database


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres, template: str = "template") -> AsyncIterator[Database]:
    """A database of its own, dropped at the end."""
    name = f"test_{next(_numbers)}"
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute(f"CREATE DATABASE {name} OWNER agents_owner TEMPLATE {template}")
    yield Database(server, name)
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")


DEFINITION = """---
name: {name}
description: "{description}"
tools: [view, search, edit, create]
specialization: {specialization}
---
# {name}

{description}
"""


def write_definitions(folder: Path, definitions: Sequence[tuple[str, str]]) -> Path:
    """A folder of small definitions: (name, description)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, description in definitions:
        text = DEFINITION.format(name=name, description=description, specialization=name)
        (folder / f"{name}.md").write_text(text)
    return folder
