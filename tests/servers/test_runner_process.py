"""`python -m runner agent NAME` as a process: its probes, what it waits for, how it ends, what it refuses."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIG_IGN, SIGINT, SIGTERM, getsignal, signal

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from database.missions import NewMission, add_mission
from runner.local.embedded import EmbeddedPostgres, EmbeddedRedis, free_port
from runner.process import stop_on_signal
from tests.servers.conftest import PASSWORD, Database, fresh_database, make_template, write_definitions

NAME = "cloud-architect"


@dataclass(slots=True)
class Running:
    """A runner process, its probes and what it wrote."""

    process: Process
    port: int
    session: aiohttp.ClientSession
    output: list[str] = field(default_factory=list)

    async def ask(self, path: str) -> tuple[int, dict[str, dict[str, str]]]:
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.json()

    async def until(self, path: str, status: int, *named: str) -> dict[str, str]:
        """Wait until a probe answers `status` and names every word; what it says is missing or stalled."""
        answer: object = None
        async with asyncio.timeout(100):
            while True:
                try:
                    answer = await self.ask(path)
                    told = answer[1].get("missing") or answer[1].get("stalled") or {}
                    if answer[0] == status and set(named) <= told.keys():
                        return told
                except aiohttp.ClientError:
                    assert self.process.returncode is None, self.output
                await asyncio.sleep(0.02)

    async def stop(self) -> int:
        self.process.send_signal(SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 100)


@asynccontextmanager
async def runner(*arguments: str, **variables: str) -> AsyncIterator[Running]:
    port = free_port()
    process = await start(*arguments, PORT=str(port), **variables)
    async with aiohttp.ClientSession() as session:
        running = Running(process, port, session)
        reader = asyncio.create_task(_read(process, running.output))
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reader


async def start(*arguments: str, **variables: str) -> Process:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path.cwd()),
        "POLL_SECONDS": "0.2",
        **variables,
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runner", *arguments), env=environment, stdout=PIPE, stderr=PIPE
    )


async def _read(process: Process, output: list[str]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        output.append(line.decode())


async def refused(*arguments: str, **variables: str) -> str:
    """What a command that must not start says on standard error."""
    process = await start(*arguments, **variables)
    out, message = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 1
    assert out == b""
    assert b"Traceback" not in message
    return message.decode()


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    return write_definitions(tmp_path / "agents", [(NAME, "Designs clouds"), ("document-ninja", "Writes")])


@pytest.fixture
async def variables(database: Database, redis_server: EmbeddedRedis, definitions: Path) -> Mapping[str, str]:
    await database.register(NAME, "document-ninja")
    return {
        "AGENTS_DIR": str(definitions),
        "DATABASE_URL": database.agent_url(NAME),
        "REDIS_URL": redis_server.url,
    }


async def add(database: Database, number: int = 1) -> None:
    async with database.connect("gateway") as gateway:
        new = NewMission(
            *("local/repository", number, "opened", "Move the cluster", "", (), "alice", "US", "queued"),
            agent=NAME,
            score=9.0,
        )
        assert await add_mission(gateway, new)


async def until_state(database: Database, state: str, count: int = 1) -> None:
    async with database.connect("gateway") as gateway, asyncio.timeout(100):
        while await gateway.fetchval("SELECT count(*) FROM missions WHERE state = $1", state) < count:
            await asyncio.sleep(0.02)


async def test_a_runner_gets_ready_works_and_tells_prometheus(database, variables):
    async with runner("agent", NAME, **variables) as running:
        await running.until("/ready", 200)
        assert await running.ask("/health") == (200, {"healthy": True, "stalled": {}})
        await add(database)
        await until_state(database, "done")
        async with running.session.get(f"http://127.0.0.1:{running.port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            families = text_string_to_metric_families(await answer.text())
        samples = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
        assert samples["agents_cloud_missions_total", NAME, "done"] == 1
        assert samples["agents_cloud_missions_total", NAME, "failed"] == 0
        assert samples["agents_cloud_mission_seconds_count", NAME] == 1
        assert await running.stop() == 0
        assert f"agent {NAME} is ready on port {running.port}" in "".join(running.output)


async def test_the_name_may_come_from_the_environment(variables):
    async with runner("agent", AGENT_NAME=NAME, **variables) as running:
        await running.until("/ready", 200)


async def test_an_idle_runner_holds_no_connection_to_postgresql(database, variables):
    async with runner("agent", NAME, **{**variables, "POLL_SECONDS": "40"}) as running:
        await running.until("/ready", 200)
        async with database.connect("postgres") as superuser, asyncio.timeout(100):
            sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
            while await superuser.fetchval(sessions, f"runner {NAME}"):
                await asyncio.sleep(0.1)
        assert (await running.ask("/ready"))[0] == 200


async def test_a_database_that_is_away_is_waited_for_and_named(redis_server, definitions, tmp_path):
    server = EmbeddedPostgres(tmp_path / "pg" / "data", password=PASSWORD, durable=False)
    await server.start()
    try:
        await make_template(server)
        async with fresh_database(server) as database:
            await database.register(NAME)
            await server.stop()
            variables = {"AGENTS_DIR": str(definitions), "DATABASE_URL": database.agent_url(NAME)}
            async with runner("agent", NAME, **variables) as running:
                missing = await running.until("/ready", 503, "database")
                assert "ConnectionRefusedError" in missing["database"]
                assert (await running.ask("/health"))[0] == 200, "a restart would not bring the database back"
                await server.start()
                await running.until("/ready", 200)
                await server.kill()
                await running.until("/ready", 503, "database")
                await server.start()
                await running.until("/ready", 200)
                await add(database)
                await until_state(database, "done")
                assert await running.stop() == 0
                assert PASSWORD not in "".join(running.output)
    finally:
        await server.stop()


async def test_without_redis_missions_are_worked_and_ready_names_it(database, definitions, tmp_path):
    await database.register(NAME)
    redis = EmbeddedRedis(tmp_path / "redis", password=PASSWORD)
    await redis.start()
    variables = {
        "AGENTS_DIR": str(definitions),
        "DATABASE_URL": database.agent_url(NAME),
        "REDIS_URL": redis.url,
    }
    try:
        async with runner("agent", NAME, **variables) as running:
            assert await running.until("/ready", 200) == {}
            await redis.kill()
            await running.until("/ready", 200, "redis")
            await add(database)
            await until_state(database, "done")
            await redis.start()
            async with asyncio.timeout(100):
                while await running.ask("/ready") != (200, {"ready": True, "missing": {}}):
                    await asyncio.sleep(0.05)
            assert PASSWORD not in "".join(running.output)
    finally:
        await redis.stop()


async def test_a_claim_loop_that_hangs_makes_health_fail_until_it_goes_round_again(database, variables):
    settings = {**variables, "STALLED_SECONDS": "1", "LEASE_SECONDS": "1"}
    async with runner("agent", NAME, **settings) as running, database.connect("agents_owner") as owner:
        await running.until("/ready", 200)
        async with owner.transaction():
            await owner.execute("LOCK TABLE missions IN ACCESS EXCLUSIVE MODE")
            while (await running.until("/health", 503, "claim")).keys() != {"claim"}:
                pass  # the heartbeat still goes round, if late on a busy machine
        await running.until("/health", 200)


async def test_sigterm_finishes_what_is_held_and_claims_nothing_more(database, variables):
    for number in range(1, 41):
        await add(database, number)
    async with runner("agent", NAME, CONCURRENCY="2", **variables) as running:
        await until_state(database, "done")
        assert await running.stop() == 0
    async with database.connect("gateway") as gateway:
        rows = await gateway.fetch("SELECT state, attempts FROM missions")
    assert {row["state"] for row in rows} <= {"done", "queued"}
    assert all(row["attempts"] == (row["state"] == "done") for row in rows)


async def test_sigterm_ends_a_runner_that_still_waits_for_its_database(definitions):
    url = f"postgresql://nobody:hidden@127.0.0.1:{free_port()}/agents"
    async with runner("agent", NAME, AGENTS_DIR=str(definitions), DATABASE_URL=url) as running:
        await running.until("/ready", 503, "database")
        assert await running.stop() == 0
        assert "waiting for PostgreSQL: ConnectionRefusedError" in "".join(running.output)
        assert "hidden" not in "".join(running.output)


async def test_a_wrong_password_is_named_as_such_and_not_shown(database, variables):
    wrong = variables["DATABASE_URL"].replace(PASSWORD, "mistaken")
    async with runner("agent", NAME, **{**variables, "DATABASE_URL": wrong}) as running:
        missing = await running.until("/ready", 503, "database")
        assert "password authentication failed" in missing["database"]
        assert "mistaken" not in missing["database"]


async def test_an_unknown_agent_is_refused_with_one_message(variables):
    message = await refused("agent", "nobody", **variables)
    assert "there is no definition nobody.md. Fix: check the name and the folder" in message
    assert message.count("\n") == 1


async def test_a_name_with_path_tricks_is_refused(variables):
    assert "is not usable as a name" in await refused("agent", "../secret", **variables)


async def test_wrong_settings_are_named_at_once(definitions):
    message = await refused("agent", PORT="many", EXECUTOR="magic", DATABASE_URL="u:hidden@db")
    for name in ("AGENT_NAME", "PORT", "EXECUTOR", "DATABASE_URL"):
        assert name in message
    assert "hidden" not in message


async def test_a_busy_port_is_refused_with_a_way_out(variables):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        message = await refused("agent", NAME, PORT=port, **variables)
    assert f"127.0.0.1:{port} cannot be listened on" in message
    assert "Fix: set PORT or HOST to a free one" in message


async def test_a_broken_definition_is_refused_with_file_line_and_remedy(variables, definitions):
    (definitions / f"{NAME}.md").write_text("---\nname: [\n---\n")
    message = await refused("agent", NAME, **variables)
    assert f"{definitions / NAME}.md:" in message
    assert "malformed YAML" in message
    assert "Fix: " in message


async def test_a_process_that_was_started_to_ignore_ctrl_c_leaves_it_to_the_one_that_started_it():
    before = signal(SIGINT, SIG_IGN)
    try:
        async with stop_on_signal():
            assert getsignal(SIGINT) is SIG_IGN
    finally:
        signal(SIGINT, before)
