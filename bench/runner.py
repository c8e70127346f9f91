"""`python -m bench.runner [--json]`: memory of an idle runner process, and how long it takes to get ready.

Targets: resident memory (VmRSS) at most 64 MiB after `--idle` seconds without work; at most 1 s from exec to 200 on
/ready, with PostgreSQL and Redis there. `python -m runner agent cloud-architect` runs with this project's own
definitions and then works one mission, because a runner that has worked is what idles most of the time. Start
times are medians on the clock, with the CPU time, which a busy machine does not change much, and the load beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg

from bench.servers import AGENTS, Servers, memory_mib, servers
from database.missions import NewMission, add_mission
from runner.agents import load_agent
from runner.local.embedded import free_port

NAME = "cloud-architect"
STARTS = 7
MOST_RSS_MIB = 64.0
MOST_START_S = 1.0
_START_LIMIT_S = 60.0


async def main() -> int:
    """Print the figures; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.runner", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds without work (default: 60)")
    arguments = parser.parse_args()
    figures = await measure(arguments.idle)
    if arguments.json:
        print(json.dumps(figures))
    else:
        idle, start = figures["idle"], figures["start"]
        print(
            f"idle for {arguments.idle:g} s: {idle['rss']} MiB resident (target {MOST_RSS_MIB:g}), of which"
        )
        print(
            f"  {idle['anonymous']} MiB its own; {idle['pss']} MiB PSS; {idle['connections']} PostgreSQL sessions"
        )
        print(f"start to ready, median of {STARTS}: {start['seconds']} s (target {MOST_START_S:g}),")
        print(
            f"  {start['cpu_seconds']} s of CPU, slowest {start['slowest']} s, load average {start['load_average']}"
        )
    return int(figures["idle"]["rss"] > MOST_RSS_MIB or figures["start"]["seconds"] > MOST_START_S)


async def measure(idle_seconds: float) -> dict[str, dict[str, float]]:
    """Start a runner several times, let the last one work a mission and idle."""
    agent = load_agent(AGENTS, NAME)
    load_average = round(os.getloadavg()[0], 2)
    async with servers([agent]) as up:
        port = free_port()
        variables = {
            "PATH": os.environ.get("PATH", ""),
            "AGENT_NAME": NAME,
            "AGENTS_DIR": str(AGENTS),
            "DATABASE_URL": up.agent_url(agent),
            "REDIS_URL": up.redis.url,
            "PORT": str(port),
        }
        seconds, cpu = [], []
        for _ in range(STARTS - 1):
            async with _runner(variables, port) as (process, took):
                seconds.append(took)
                cpu.append(_cpu_seconds(process.pid))
        async with _runner(variables, port) as (process, took):
            seconds.append(took)
            cpu.append(_cpu_seconds(process.pid))
            await _work_one(up)
            await asyncio.sleep(idle_seconds)
            memory: Mapping[str, float] = memory_mib(process.pid)
            connections = await _sessions(up)
    return {
        "idle": {**memory, "connections": connections},
        "start": {
            "seconds": round(statistics.median(seconds), 3),
            "cpu_seconds": round(statistics.median(cpu), 3),
            "slowest": round(max(seconds), 3),
            "load_average": load_average,
        },
    }


@asynccontextmanager
async def _runner(variables: Mapping[str, str], port: int) -> AsyncIterator[tuple[Process, float]]:
    """A runner that is ready, and the seconds it took; stopped in order at the end."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "runner", "agent"), env=dict(variables), stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(_START_LIMIT_S), aiohttp.ClientSession() as session:
            while not await _ready(session, f"http://127.0.0.1:{port}/ready"):
                await asyncio.sleep(0.005)
        yield process, time.perf_counter() - started
    finally:
        process.terminate()
        await process.wait()


async def _ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _cpu_seconds(pid: int) -> float:
    with Path(f"/proc/{pid}/stat").open() as stat:
        user, system = stat.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def _work_one(up: Servers) -> None:
    connection = await asyncpg.connect(up.gateway_url)
    try:
        new = NewMission(
            *("local/repository", 1, "opened", "Move the cluster", "", (), "someone", "US", "queued"),
            agent=NAME,
            score=9.0,
        )
        mission = await add_mission(connection, new)
        async with asyncio.timeout(_START_LIMIT_S):
            while await connection.fetchval("SELECT state FROM missions WHERE id = $1", mission) != "done":
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def _sessions(up: Servers) -> int:
    connection = await asyncpg.connect(up.postgres.superuser_url)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", f"runner {NAME}"
        )
        return count
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
