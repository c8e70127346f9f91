"""kill −9 of a runner, the gateway, Redis and PostgreSQL: one outcome and one comment for each accepted issue."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.local.embedded import EmbeddedPostgres, EmbeddedRedis, free_port
from tests.servers.conftest import PASSWORD, fresh_database, make_template
from tests.servers.system import CLOUD, DOCS, REPOSITORY, SECRET, System, open_system

MANY = 16


@pytest.fixture
async def system(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system:
        yield system


def open_issues(system: System, count: int = MANY) -> list[int]:
    return [
        system.github.open_issue(REPOSITORY, CLOUD if n % 2 else DOCS, f"case {n}", author="alice")
        for n in range(count)
    ]


async def assert_each_issue_was_worked_once(system: System, numbers: list[int]) -> None:
    await system.until(
        "SELECT count(DISTINCT issue_number) = $1 FROM missions WHERE state = 'done'",
        len(numbers),
        seconds=60,
    )
    await system.until_idle()
    doubled = "SELECT count(*) FROM (SELECT FROM agent_memories GROUP BY mission_id HAVING count(*) > 1) AS d"
    assert await system.gateway.fetchval(doubled) == 0
    assert await system.gateway.fetchval("SELECT count(*) FROM agent_memories") == len(numbers)
    assert await system.gateway.fetchval("SELECT sum(total_missions) FROM agent_performance") == len(numbers)
    comments = {number: len(await system.agent_comments(number)) for number in numbers}
    assert comments == dict.fromkeys(numbers, 1)
    assert system.github.doubled_effects() == 0


@asynccontextmanager
async def process(*arguments: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **variables}
    started = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


@pytest.mark.parametrize("step", ["claimed", "validated", "recalled", "executed", "remembered"])
async def test_a_runner_killed_at_any_step_leaves_one_outcome_and_one_comment(system: System, step: str):
    await system.start_gateway()
    number = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    variables = system.runner_variables("cloud-architect", LEASE_SECONDS="1")
    async with process("-m", "tests.servers.crashing_runner", step, **variables) as runner:
        assert await asyncio.wait_for(runner.wait(), 100) == -signal.SIGKILL
    system.start_runner("cloud-architect")
    await assert_each_issue_was_worked_once(system, [number])


async def test_a_runner_that_was_frozen_past_its_lease_does_no_harm_when_it_wakes(system: System):
    await system.start_gateway()
    variables = system.runner_variables("cloud-architect", LEASE_SECONDS="1", CONCURRENCY="1")
    async with process("-m", "runner", "agent", **variables) as runner:
        await system.until(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'runner %')"
        )
        numbers = [system.github.open_issue(REPOSITORY, CLOUD, f"case {n}", author="alice") for n in range(8)]
        await system.until("SELECT EXISTS (SELECT FROM missions WHERE claimed_at IS NOT NULL)")
        runner.send_signal(signal.SIGSTOP)
        await system.until("SELECT NOT EXISTS (SELECT FROM missions WHERE lease_until > now())")
        system.start_runner("cloud-architect")
        await system.until("SELECT NOT EXISTS (SELECT FROM missions WHERE state IN ('queued', 'running'))")
        runner.send_signal(signal.SIGCONT)
        await assert_each_issue_was_worked_once(system, numbers)


async def test_a_gateway_killed_while_it_takes_and_answers_loses_and_doubles_nothing(system: System):
    system.start_runners()
    port = free_port()
    variables = {
        "AGENTS_DIR": str(system.definitions),
        "DATABASE_URL": system.database.url("gateway"),
        "REDIS_URL": system.redis_url,
        "PORT": str(port),
        "WEBHOOK_SECRET": SECRET,
        "EMBEDDING_MODEL": "none",
        "GITHUB_API_URL": system.github.url,
        "GITHUB_TOKEN": system.github.token(),
        "RECONCILE_SECONDS": "1",
    }
    system.github.deliver_to(f"http://127.0.0.1:{port}/webhook", SECRET)
    numbers: list[int] = []
    sql = "SELECT count(*) >= $1 FROM outbox WHERE kind = 'comment' AND done_at IS NOT NULL"
    for enough in (1, 6, 11):  # killed while some comments are made and others are not
        async with process("-m", "runner", "gateway", **variables):
            await until_listening(port)
            numbers += open_issues(system, 6)
            await system.until(sql, enough)
    async with process("-m", "runner", "gateway", **variables):
        await assert_each_issue_was_worked_once(system, numbers)


async def until_listening(port: int) -> None:
    async with asyncio.timeout(100):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_redis_killed_with_all_its_data_costs_time_and_no_mission(database, tmp_path):
    redis = EmbeddedRedis(tmp_path / "redis", password=PASSWORD)
    await redis.start()
    try:
        async with open_system(database, redis, tmp_path) as system:
            await system.start_gateway()
            system.start_runners()
            numbers = open_issues(system)
            await system.until("SELECT EXISTS (SELECT FROM missions WHERE state = 'done')")
            await redis.kill()
            shutil.rmtree(tmp_path / "redis")
            numbers += open_issues(system, 4)
            await system.until("SELECT count(*) >= 18 FROM missions WHERE state = 'done'")
            await redis.start()
            numbers += open_issues(system, 4)
            await assert_each_issue_was_worked_once(system, numbers)
            await system.stop_all()
    finally:
        await redis.stop()


async def test_postgresql_killed_in_the_middle_loses_and_doubles_nothing(redis_server, tmp_path):
    server = EmbeddedPostgres(tmp_path / "pg" / "data", password=PASSWORD)
    await server.start()
    try:
        await make_template(server)
        async with (
            fresh_database(server) as database,
            open_system(database, redis_server, tmp_path) as system,
        ):
            await system.start_gateway(RECONCILE_SECONDS="1")
            system.start_runners()
            numbers = open_issues(system)
            await system.until("SELECT count(*) >= 3 FROM missions WHERE state = 'done'")
            await server.kill()
            numbers += open_issues(system, 4)  # their webhooks are answered 503, or not at all
            await system.github.sent()
            await server.start()
            await assert_each_issue_was_worked_once(system, numbers)
            await system.stop_all()
    finally:
        await server.stop()
