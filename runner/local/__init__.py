"""`python -m runner run`: PostgreSQL, Redis, the local GitHub, the gateway and every agent on one machine."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGTERM

import asyncpg

from database.connect import AWAY, Pool, open_pool
from errors import SettingsError, Unavailable
from runner.agents import Agent, load_agents
from runner.geography import Geography, load_geography, local_geography
from runner.local.database import DATABASE, prepare_database
from runner.local.embedded import EmbeddedPostgres, EmbeddedRedis, dies_with_parent, free_port
from runner.local.fleet_processes import FleetProcesses
from runner.local.progress import Progress
from runner.local.report import report_of
from runner.local.state import LocalState, load_secrets, locked_data_folder
from runner.localgithub import LocalGitHub, LocalGitHubSettings, load_reactions
from runner.match.scope import refuse_swallowing
from runner.process import stop_on_signal
from runner.register import registration_of

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
REPOSITORY = "local/repository"
DRAIN_SECONDS = 10.0
_STOP_SECONDS = 20.0
# One busy machine: a lost wake-up is repeated soon, and a killed runner's mission is free again soon.
_LEASE_SECONDS = "15"
_POLL_SECONDS = "10"


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The command line of `run`."""

    agents: Path
    geography: Path | None
    issues: Path | None
    maintainer: Path | None
    history: Path | None
    data: Path
    port: int
    executor: str
    at_once: int
    """How many issues are open at once; 0 for all. Later ones can then recall what earlier ones taught."""
    until_idle: bool
    report: Path | None


@dataclass(slots=True)
class Ecosystem:
    """What runs, for the one who watches it."""

    agents: tuple[Agent, ...]
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    github: LocalGitHub
    fleet: FleetProcesses
    gateway: Process
    gateway_database_url: str
    page: str


async def run_local(options: LocalOptions) -> int:
    """Run until Ctrl-C or, with `until_idle`, until every issue is final; the exit code. Raises InputError."""
    agents = load_agents(options.agents)
    refuse_swallowing(agents)
    geography = load_geography(options.geography, agents) if options.geography else local_geography(agents)
    if options.port:
        _check_port(options.port)
    logging.getLogger().setLevel(os.environ.get("LOG_LEVEL", "WARNING").upper())
    async with stop_on_signal() as stop:
        with locked_data_folder(options.data) as data:
            progress = Progress(quiet=not sys.stderr.isatty())
            async with ecosystem(options, agents, geography, data, progress) as running:
                return await _watch(options, running, progress, stop)


@asynccontextmanager
async def ecosystem(
    options: LocalOptions, agents: tuple[Agent, ...], geography: Geography, data: Path, progress: Progress
) -> AsyncIterator[Ecosystem]:
    """Everything started and ready to be fed; stopped in order at the end."""
    secrets = load_secrets(data)
    async with AsyncExitStack() as stack:
        progress.step("PostgreSQL and Redis")
        postgres = EmbeddedPostgres(data / "postgres", password=secrets["postgres"])
        redis = EmbeddedRedis(data / "redis", password=secrets["redis"])
        stack.push_async_callback(postgres.stop)
        stack.push_async_callback(redis.stop)
        await asyncio.gather(postgres.start(), redis.start())
        roles = await prepare_database(postgres, agents, secrets)

        progress.step("local GitHub")
        port = options.port or free_port()
        github = await stack.enter_async_context(
            LocalGitHub(
                LocalGitHubSettings(
                    data=data / "github",
                    webhook_url=f"http://{HOST}:{port}/webhook",
                    secret=secrets["webhook"],
                    repository=REPOSITORY,
                    rate_limit=1_000_000,  # on one machine there is nobody to protect
                    deliver_at_once=False,
                )
            )
        )
        logs = data / "logs"
        logs.mkdir(exist_ok=True)
        common = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("DATABASE_", "REDIS_"))
            },
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "AGENTS_DIR": str(options.agents.resolve()),
            "REDIS_URL": redis.url,
            "HOST": HOST,
            "EXECUTOR": options.executor,
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": github.token(),
            "LEASE_SECONDS": _LEASE_SECONDS,
            "POLL_SECONDS": _POLL_SECONDS,
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            "WORK_DIR": str(data / "work"),
            "RECONCILE_SECONDS": "10",
        }
        gateway_url = postgres.url("gateway", roles["gateway"], "agents")
        gateway_variables = {
            **common,
            "DATABASE_URL": gateway_url,
            "PORT": str(port),
            "WEBHOOK_SECRET": secrets["webhook"],
            **({"GEOGRAPHY": str(options.geography.resolve())} if options.geography else {}),
            **({"HISTORY": str(options.history.resolve())} if options.history else {}),
        }
        progress.step("gateway")
        gateway = await _start_gateway(gateway_variables, logs / "gateway.log")
        stack.push_async_callback(_stop_process, gateway)
        fleet = FleetProcesses(
            {
                agent.name: {
                    **common,
                    "AGENT_NAME": agent.name,
                    "DATABASE_URL": postgres.url(role, roles[role], "agents"),
                    "PORT": "0",
                }
                for agent in agents
                for role in [registration_of(agent).role]
            },
            logs,
        )
        progress.step(f"{len(agents)} agents")
        fleet.start()
        stack.push_async_callback(fleet.stop, DRAIN_SECONDS + 5)
        keeper = asyncio.create_task(fleet.keep_alive())
        stack.push_async_callback(_cancel, keeper)
        page = f"http://{HOST}:{port}"
        owner_url = postgres.url("agents_owner", secrets["agents_owner"], DATABASE)
        LocalState(os.getpid(), gateway_url, owner_url, redis.url, page).write(data)
        await _wait_for_page(gateway, page, logs / "gateway.log")
        github.deliver()  # not before: what fails is not sent again, and nobody asks for a repository not heard of yet
        if options.maintainer:
            github.simulate_maintainer(load_reactions(options.maintainer))
        yield Ecosystem(agents, postgres, redis, github, fleet, gateway, gateway_url, page)
        progress.step("stopping")


async def _start_gateway(variables: Mapping[str, str], log_file: Path) -> Process:
    with log_file.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *dies_with_parent("KILL"),  # its servers die too: nothing is left to finish
            *(sys.executable, "-m", "runner", "gateway"),
            env=dict(variables),
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            start_new_session=True,
        )


async def _wait_for_page(gateway: Process, page: str, log_file: Path) -> None:
    host, port = page.removeprefix("http://").split(":")
    while gateway.returncode is None:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise Unavailable(f"the gateway did not start; see {log_file}")


async def _stop_process(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as busy:
            raise SettingsError(
                f"port {port} is busy ({busy.strerror})", "choose another one with --port"
            ) from busy


_PROGRESS = """
SELECT count(DISTINCT (repository, issue_number)) FILTER (WHERE NOT live) AS final,
       (SELECT count(*) FROM inbox WHERE processed_at IS NULL) AS inbox,
       (SELECT count(*) FROM outbox WHERE done_at IS NULL AND kind <> 'wake' AND attempts < 12) AS outbox,
       (SELECT count(*) FROM agent_memories m
        WHERE $1 AND state = 'succeeded' AND solution_approach <> '' AND NOT EXISTS (
            SELECT FROM agent_memory_embeddings e WHERE e.agent_name = m.agent_name AND e.memory_id = m.id)
       ) AS unlearned,
       max(changed) AS changed
FROM (SELECT repository, issue_number, bool_or(state IN ('waiting', 'queued', 'running')) AS live,
             max(greatest(accepted_at, claimed_at, finished_at)) AS changed
      FROM missions GROUP BY repository, issue_number) AS issues
"""
_LOOK_SECONDS = 0.25
STUCK_SECONDS = 300.0


async def _watch(options: LocalOptions, running: Ecosystem, progress: Progress, stop: asyncio.Event) -> int:
    """Show progress; with `until_idle`, end when nothing is left to do, or when nothing has moved for too long."""
    clock = asyncio.get_running_loop().time
    started = moved = clock()
    last: tuple[object, ...] = ()
    idle = False
    progress.page(running.page)
    feed = _feed(running.github, options)
    async with open_pool(running.gateway_database_url, most=1, application="run") as pool:
        all_open = not await anext(feed)
        while not stop.is_set():
            if running.gateway.returncode is not None:
                raise Unavailable(
                    f"the gateway ended with {running.gateway.returncode}; see {options.data / 'logs'}"
                )
            row = await _progress(pool)
            if row is not None:
                issues = running.github.issue_count()
                progress.missions(row["final"], issues)
                if tuple(row) != last:
                    moved, last = clock(), tuple(row)
                waiting = row["inbox"] or row["outbox"] or row["unlearned"] or not running.github.idle
                idle = row["final"] >= issues and not waiting
                if idle and not all_open:
                    all_open = not await anext(feed)
                    continue
            if options.until_idle and (idle or clock() - moved > STUCK_SECONDS):
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
        report = await report_of(
            pool,
            agents=[agent.name for agent in running.agents],
            issues=running.github.issue_count(),
            doubled_effects=running.github.doubled_effects(),
            seconds=clock() - started,
        )
    progress.done()
    if options.report:
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    if options.until_idle and not idle:
        print(
            f"{report['lost']} of {report['issues']} issues did not end; see {options.data / 'logs'}",
            file=sys.stderr,
        )
        return 1
    return 0


async def _feed(github: LocalGitHub, options: LocalOptions) -> AsyncIterator[bool]:
    """Open the next issues at each step; whether there are more."""
    loaded = github.read(options.issues) if options.issues else None
    if loaded is None:
        yield False
        return
    size = options.at_once or len(loaded.issues) or 1
    await github.apply(replace(loaded, issues=loaded.issues[:size]))
    for start in range(size, len(loaded.issues), size):
        yield True
        await github.apply(replace(loaded, issues=loaded.issues[start : start + size], deliveries=()))
    yield False


async def _progress(pool: Pool) -> asyncpg.Record | None:
    try:
        return await pool.fetchrow(_PROGRESS, os.environ.get("EMBEDDING_MODEL") != "none")
    except AWAY:
        return None  # being restarted
