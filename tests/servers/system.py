"""The whole mission flow in one test: local GitHub, gateway and runners on real servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio

from database.connect import Pool
from runner.gateway import run_gateway
from runner.local.embedded import EmbeddedRedis
from runner.localgithub import LocalGitHub, LocalGitHubSettings
from runner.process import run_agent
from runner.settings import GatewaySettings, RunnerSettings
from runner.worker import OnStep, no_hook
from tests.servers.conftest import Database, write_definitions

SECRET = "0123456789abcdef-of-the-tests"
REPOSITORY = "local/repository"
AGENTS = (
    ("cloud-architect", "Designs cloud architecture: AWS, Kubernetes clusters, VPC networks and their cost"),
    ("secure-specialist", "Finds vulnerabilities, leaked credentials and broken authentication"),
    ("document-ninja", "Writes documentation, tutorials, README files and API references"),
    ("database-expert", "Tunes PostgreSQL queries, indexes, migrations and schemas"),
)
CLOUD = "Move the Kubernetes cluster to another AWS VPC network"
DOCS = "Write a tutorial and documentation for the README"
NOBODY = "thanks everybody!"


@dataclass(slots=True)
class System:
    """What runs in a test, and how to look at it."""

    database: Database
    redis_url: str
    definitions: Path
    work: Path
    github: LocalGitHub
    gateway: Pool
    port: int = 0
    _tasks: list[tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start_gateway(self, **variables: str) -> None:
        settings = GatewaySettings.from_environment(
            {
                "AGENTS_DIR": str(self.definitions),
                "DATABASE_URL": self.database.url("gateway"),
                "REDIS_URL": self.redis_url,
                "PORT": str(self.port),
                "WEBHOOK_SECRET": SECRET,
                "EMBEDDING_MODEL": "none",
                "GITHUB_API_URL": self.github.url,
                "GITHUB_TOKEN": self.github.token(),
                "CONTROL_PERCENT": "0",
                **variables,
            }
        )
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._start(lambda stop: run_gateway(settings, stop, started.set_result))
        self.port = await started
        self.github.deliver_to(f"{self.url}/webhook", SECRET)

    def runner_variables(self, agent: str, **variables: str) -> dict[str, str]:
        return {
            "AGENT_NAME": agent,
            "AGENTS_DIR": str(self.definitions),
            "DATABASE_URL": self.database.agent_url(agent),
            "REDIS_URL": self.redis_url,
            "PORT": "0",
            "WORK_DIR": str(self.work),
            "GITHUB_API_URL": self.github.url,
            "GITHUB_TOKEN": self.github.token(),
            "LEASE_SECONDS": "2",
            "POLL_SECONDS": "0.2",
            **variables,
        }

    def start_runner(self, agent: str, on_step: OnStep = no_hook, **variables: str) -> asyncio.Event:
        settings = RunnerSettings.from_environment(self.runner_variables(agent, **variables))
        return self._start(lambda stop: run_agent(settings, stop, on_step))

    def start_runners(self) -> None:
        for agent, _ in AGENTS:
            self.start_runner(agent)

    def _start(self, run: Callable[[asyncio.Event], Awaitable[None]]) -> asyncio.Event:
        stop = asyncio.Event()
        self._tasks.append((stop, asyncio.ensure_future(run(stop))))
        return stop

    async def stop_all(self) -> None:
        tasks, self._tasks = self._tasks, []
        for stop, _ in tasks:
            stop.set()
        for _, task in tasks:
            await asyncio.wait_for(task, 100)

    async def missions(self) -> list[Any]:
        return await self.gateway.fetch("SELECT * FROM missions ORDER BY accepted_at")

    async def mission(self, number: int) -> Any:
        row = await self.gateway.fetchrow(
            "SELECT * FROM missions WHERE issue_number = $1 ORDER BY accepted_at DESC LIMIT 1", number
        )
        assert row is not None, f"issue {number} has no mission"
        return row

    async def until_state(self, number: int, *states: str) -> Any:
        sql = "SELECT EXISTS (SELECT FROM missions WHERE issue_number = $1 AND state = ANY($2))"
        await self.until(sql, number, list(states))
        return await self.mission(number)

    async def finished(self, title: str = CLOUD, author: str = "alice") -> int:
        """An issue that was worked, all of which was heard."""
        number = self.github.open_issue(REPOSITORY, title, author=author)
        await self.until_state(number, "done")
        await self.until_idle()
        return number

    async def outcome(self, number: int) -> str:
        """How the newest outcome of an issue stands."""
        state: str = await self.gateway.fetchval(
            "SELECT state FROM agent_memories WHERE issue_number = $1 ORDER BY created_at DESC LIMIT 1",
            number,
        )
        return state

    async def until_idle(self) -> None:
        await self.github.sent()
        await self.until(
            "SELECT NOT EXISTS (SELECT FROM inbox WHERE processed_at IS NULL)"
            " AND NOT EXISTS (SELECT FROM missions WHERE state IN ('queued', 'running'))"
            " AND NOT EXISTS (SELECT FROM outbox WHERE done_at IS NULL AND kind <> 'wake' AND attempts < 12)"
        )
        await self.github.sent()

    async def until(self, sql: str, *arguments: object, seconds: float = 100) -> None:
        """Wait for a state of the database."""
        async with asyncio.timeout(seconds):
            while True:
                with suppress(Exception):  # the server may be between a kill and its restart
                    if await self.gateway.fetchval(sql, *arguments):
                        return
                await asyncio.sleep(0.02)

    async def agent_comments(self, number: int) -> list[str]:
        rows = self.github.state.store.rows(
            "SELECT body FROM comments WHERE author LIKE '%[bot]'"
            " AND issue = (SELECT id FROM issues WHERE number = ? AND repository = ?)",
            number,
            REPOSITORY,
        )
        return [row["body"] for row in rows]


@asynccontextmanager
async def open_system(
    database: Database,
    server: EmbeddedRedis,
    folder: Path,
    clock: Callable[[], float] = time.time,
    **settings: Any,
) -> AsyncIterator[System]:
    """A local GitHub, which `clock` tells the time, and a registered fleet; the test starts gateway and runners.

    `settings`: more of the local GitHub's.
    """
    definitions = write_definitions(folder / "agents", AGENTS)
    await database.register(*(name for name, _ in AGENTS))
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(redis.asyncio.from_url(server.url))
        await client.flushall()
        github = await stack.enter_async_context(
            LocalGitHub(
                LocalGitHubSettings(
                    data=folder / "github",
                    repository=REPOSITORY,
                    rate_limit=1_000_000,
                    clock=clock,
                    **settings,
                )
            )
        )
        pool = await stack.enter_async_context(database.pool("gateway", 2))
        system = System(database, server.url, definitions, folder / "work", github, pool)
        stack.push_async_callback(system.stop_all)
        yield system
