"""`python -m bench.startup [--json]`: from the command to the page, and to every agent ready.

Target, from an installed environment on two cores: the page answers 200 within 10 s, and every agent of this project
is ready within 20 s. Each run is `python -m runner run` in a new data folder, as a newcomer's first `make run`: it
makes the PostgreSQL cluster, the schema and the agents' partitions and roles, and starts Redis, the local GitHub, the
gateway with its embedding model and one process per agent. An agent is ready when the page says so. Beside the clock
stand the CPU seconds of all processes until then, which a busy machine does not change much, and the load.
`again` is the same on the folder that the run left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGINT
from typing import Any

import aiohttp

from bench.servers import AGENTS, ROOT
from runner.agents import load_agents
from runner.local.embedded import free_port

RUNS = 5
MOST_PAGE_S = 10.0
MOST_READY_S = 20.0
_START_LIMIT_S = 180.0
_STOP_LIMIT_S = 60.0
_LOOK_SECONDS = 0.1  # each look costs the gateway a round of queries
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds on the clock, and CPU seconds of all its processes until the last agent was ready."""

    page: float
    ready: float
    cpu: float


async def main() -> int:
    """Print the figures; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"new data folders (default: {RUNS})")
    arguments = parser.parse_args()
    figures = await measure(arguments.runs)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(f"{figures['agents']} agents, {arguments.runs} runs, {figures['cores']} cores,", end=" ")
        print(f"load average before {figures['load_average']}")
        print("                     median       max    target")
        for name in ("new", "again"):
            for what, target in (("page", MOST_PAGE_S), ("ready", MOST_READY_S), ("cpu", None)):
                figure = figures[name][what]
                print(f"{name:<6} {what:<6} {figure['median']:12.1f} s {figure['max']:7.1f} s", end="")
                print(f" {target:7.0f} s" if target else "")
    new = figures["new"]
    return int(new["page"]["median"] > MOST_PAGE_S or new["ready"]["median"] > MOST_READY_S)


async def measure(runs: int) -> dict[str, Any]:
    """Start the ecosystem in `runs` new data folders, twice in each."""
    load_average = round(os.getloadavg()[0], 2)
    agents = len(load_agents(AGENTS))
    starts: dict[str, list[Start]] = {"new": [], "again": []}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            for of_kind in starts.values():
                of_kind.append(await start(Path(folder) / "data", agents))
    return {
        "agents": agents,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": load_average,
        **{name: _summary(of_kind) for name, of_kind in starts.items()},
    }


async def start(data: Path, agents: int) -> Start:
    """Run until every agent is ready, then stop as Ctrl-C does."""
    port = free_port()
    began = time.perf_counter()
    async with (
        _ecosystem(data, port) as process,
        asyncio.timeout(_START_LIMIT_S),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        while await _get(session, "/") is None:
            await _still_runs(process)
        page = time.perf_counter() - began
        while _ready(await _get(session, "/api/status")) < agents:
            await _still_runs(process)
        return Start(page, time.perf_counter() - began, cpu_seconds(process.pid))


@asynccontextmanager
async def _ecosystem(data: Path, port: int) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "runner", "run", "--agents", str(AGENTS), "--geography", str(ROOT / "agent_geography.yaml")),
        *("--data", str(data), "--port", str(port)),
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(SIGINT)
        await asyncio.wait_for(process.wait(), _STOP_LIMIT_S)


async def _still_runs(process: Process) -> None:
    await asyncio.sleep(_LOOK_SECONDS)
    if process.returncode is not None:
        assert process.stderr is not None
        raise RuntimeError(f"the run ended: {(await process.stderr.read()).decode()}")


async def _get(session: aiohttp.ClientSession, path: str) -> bytes | None:
    try:
        async with session.get(path) as answer:
            return await answer.read() if answer.status == 200 else None
    except aiohttp.ClientError:
        return None


def _ready(status: bytes | None) -> int:
    """How many agents are ready in what the page is made of."""
    regions = json.loads(status)["regions"] if status else []
    return sum(agent[1] == "ready" for region in regions for agent in region["agents"])


def cpu_seconds(root: int) -> float:
    """User and system time of a process and all under it, with those that have ended and were waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # ended in between
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    return sum(ticks[pid] for pid in ticks if _is_under(pid, root, parents)) / _TICKS


def _is_under(pid: int, root: int, parents: Mapping[int, int]) -> bool:
    while pid and pid != root:
        pid = parents.get(pid, 0)
    return pid == root


def _summary(starts: list[Start]) -> dict[str, dict[str, float]]:
    columns = {what: [asdict(start)[what] for start in starts] for what in ("page", "ready", "cpu")}
    return {
        what: {"median": round(statistics.median(values), 2), "max": round(max(values), 2)}
        for what, values in columns.items()
    }


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
