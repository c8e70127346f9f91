"""`python -m bench.flow [--json]`: missions per second without a model, beside procrastinate's empty jobs.

Target: at least half the jobs per second that procrastinate 3.10.0 does with an empty task on the same PostgreSQL in
the same run. Ours is a delivery in the inbox → match → route → mission → wake-up → claim → validate → recall →
execute (`recall`) → outcome, statistics and effects stored; the clock stops when the last mission is final. The
gateway runs in this process, the runners as processes, as `make run` has them; embeddings were computed beforehand and
every agent has works to recall. Effects are taken from the outbox and marked as done, and only the HTTP call to
GitHub is left out. Both sides: one durable PostgreSQL (fsync and synchronous_commit on), all jobs stored before the
clock starts, the same number at once. Rounds alternate; the figure is the median of the rounds' ratios.

Beside it, end to end: `python -m runner run --until-idle` over this project's samples, every copy under its own
number, with MiniLM computing the embeddings and the local GitHub taking every comment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from bench.servers import AGENTS, ROOT, Servers, servers
from database.connect import Pool, open_connection, open_pool
from database.current_embedder import CurrentEmbedder
from database.embeddings import Embedder
from database.inbox import Delivery, store_delivery
from runner.agents import Agent, load_agents
from runner.gateway import Gateway
from runner.gateway.intake import Intake
from runner.gateway.matchers import Matchers
from runner.geography import local_geography
from runner.github import GitHub
from runner.health import Health
from runner.issue import Issue, issue_from_github
from runner.local.fleet_processes import FleetProcesses
from runner.match.history import Work
from runner.settings import GatewaySettings
from runner.stream import open_redis

REPOSITORY = "local/repository"
SAMPLES = ROOT / "samples" / "issues.json"
JUDGES = ROOT / ".venv-judges" / "bin" / "python"
BUSY_AGENTS = 4
CONCURRENCY = 4  # of each runner
AT_ONCE = BUSY_AGENTS * CONCURRENCY
KNOWN_WORKS = 200  # proven works that the four recall from
DIMENSION = 384
JOBS = 1000
ROUNDS = 5
LEAST_RATIO = 0.5
_LOOK_SECONDS = 0.05  # each look costs PostgreSQL a count


async def main() -> int:
    """Print the figures; 1 where the target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.flow", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds of each side (default: {ROUNDS})")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"jobs a round (default: {JOBS})")
    arguments = parser.parse_args()
    if not JUDGES.exists():
        parser.error("procrastinate is not installed here. Fix: make bench, which makes .venv-judges")
    figures = await compare(arguments.rounds, arguments.jobs)
    figures["end_to_end"] = await end_to_end(arguments.jobs)
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(
            f"{arguments.rounds} rounds of {arguments.jobs} jobs, {AT_ONCE} at once, load average {figures['load']}"
        )
        print("                                jobs/s, median      each round")
        for side in ("ours", "procrastinate"):
            each = "  ".join(f"{rate:.0f}" for rate in figures[side])
            print(f"{side:<31} {statistics.median(figures[side]):14.1f}      {each}")
        print(f"ratio, median of rounds          {figures['ratio']:13.2f}      target {LEAST_RATIO}")
        print(f"end to end with embeddings       {figures['end_to_end']:13.1f}")
    return int(figures["ratio"] < LEAST_RATIO)


async def compare(rounds: int, jobs: int) -> dict[str, Any]:
    """Jobs per second of both sides in `rounds` alternating rounds."""
    agents = load_agents(AGENTS)
    matchers = SteadyMatchers(agents, local_geography(agents))
    issues = busiest(matchers)
    figures: dict[str, Any] = {"load": round(os.getloadavg()[0], 2), "ours": [], "procrastinate": []}
    async with servers(agents) as up, missions(up, agents, matchers, issues) as flow:
        await remember(flow)
        async with open_connection(up.postgres.superuser_url) as superuser:
            await superuser.execute("CREATE DATABASE peer")
        for number in range(rounds):
            first = 1_000_000 * (number + 1)
            figures["ours"].append(await ours(flow, first, jobs))
            figures["procrastinate"].append(await procrastinate(up, jobs))
    ratios = [ours / peer for ours, peer in zip(figures["ours"], figures["procrastinate"], strict=True)]
    return {**figures, "ratio": round(statistics.median(ratios), 3)}


class SteadyMatchers(Matchers):
    """Learns nothing on the way, so that every round's issues go to the agents whose runners are here."""

    def learn(self, history: Sequence[Work]) -> None:
        if not history:
            super().learn(history)


def busiest(matchers: Matchers) -> dict[str, list[Issue]]:
    """The samples of the few agents that get most of them."""
    by_agent: dict[str, list[Issue]] = defaultdict(list)
    for data in json.loads(SAMPLES.read_text()):
        issue = issue_from_github(data, REPOSITORY)
        if (agent := matchers.match(issue, "US").agent) is not None:
            by_agent[agent].append(issue)
    names = sorted(by_agent, key=lambda name: (-len(by_agent[name]), name))[:BUSY_AGENTS]
    return {name: by_agent[name] for name in names}


class KnownEmbeddings:
    """Vectors that were computed before: random, and near each other for copies of one issue."""

    model = "minilm"
    dimension = DIMENSION
    version = "known"

    def __init__(self) -> None:
        self._known: dict[str, list[float]] = {}

    def compute(self, text: str) -> list[float]:
        seed = text.partition("\n")[2][:80]  # how the body begins: copies differ in their title
        if text not in self._known:
            near, own = random.Random(seed), random.Random(text)
            self._known[text] = [near.gauss(0, 1) + own.gauss(0, 0.3) for _ in range(DIMENSION)]
        return self._known[text]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [self.compute(text) for text in texts]

    async def close(self) -> None:
        """Nothing to close."""


async def _keep(model: str) -> Embedder:
    raise NotImplementedError(f"no switch to {model} in a benchmark")


class SilentGitHub:
    """Takes every effect at once."""

    async def ensure_comment(self, *_: object) -> str:
        return "https://github.test/comment"

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What works missions here."""

    pool: Pool
    gateway: Gateway
    known: KnownEmbeddings
    issues: dict[str, list[Issue]]
    """Of each busy agent."""


@asynccontextmanager
async def missions(
    up: Servers, agents: Sequence[Agent], matchers: Matchers, issues: dict[str, list[Issue]]
) -> AsyncIterator[Flow]:
    """A gateway whose loops run, and the runners of the busy agents."""
    settings = GatewaySettings.from_environment(
        {
            "DATABASE_URL": up.gateway_url,
            "WEBHOOK_SECRET": "x" * 16,
            "EMBEDDING_MODEL": "none",
            "RECONCILE_SECONDS": "86400",
        }
    )
    logs = up.folder / "logs"
    logs.mkdir()
    common = {
        "PATH": os.environ.get("PATH", ""),
        "AGENTS_DIR": str(AGENTS),
        "REDIS_URL": up.redis.url,
        "PORT": "0",
        "CONCURRENCY": str(CONCURRENCY),
        "LOG_LEVEL": "WARNING",
    }
    fleet = FleetProcesses(
        {
            agent.name: {**common, "AGENT_NAME": agent.name, "DATABASE_URL": up.agent_url(agent)}
            for agent in agents
            if agent.name in issues
        },
        logs,
    )
    async with (
        open_pool(up.gateway_url, most=10, application="gateway") as pool,
        open_redis(up.redis.url) as client,
    ):
        intake = Intake(local_geography(agents), "US", matchers, paid=False, control_percent=0)
        github = cast(GitHub, SilentGitHub())
        known = KnownEmbeddings()
        embedder = CurrentEmbedder(known, _keep)
        gateway = Gateway(settings, pool, intake, Health(), client, github, embedder, ())
        loops = asyncio.create_task(gateway.run())
        fleet.start()
        try:
            yield Flow(pool, gateway, known, issues)
        finally:
            loops.cancel()
            await asyncio.gather(loops, return_exceptions=True)
            await fleet.stop(10)


async def deliver(flow: Flow, first: int, count: int) -> None:
    """Store `count` deliveries whose embeddings are known, as the webhook does, in one transaction."""
    agents = list(flow.issues)
    async with flow.pool.acquire() as connection, connection.transaction():
        for number in range(first, first + count):
            of_agent = flow.issues[agents[number % len(agents)]]
            sample = of_agent[number // len(agents) % len(of_agent)]
            issue = replace(sample, number=number, title=f"{sample.title} ({number})")
            flow.known.compute(f"{issue.title}\n{issue.body}")
            await store_delivery(
                connection, Delivery(str(number), "issues", REPOSITORY, payload(issue)), str(number)
            )
    flow.gateway.new_delivery.set()


def payload(issue: Issue) -> dict[str, Any]:
    """What GitHub sends, as far as it is read."""
    author = {"login": issue.author, "type": "User"}
    return {
        "action": "opened",
        "issue": {
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "labels": [{"name": label} for label in issue.labels],
            "user": author,
            "state": "open",
        },
        "repository": {"full_name": REPOSITORY},
        "sender": author,
    }


_OPEN = """
SELECT (SELECT count(*) FROM inbox WHERE processed_at IS NULL)
     + (SELECT count(*) FROM missions WHERE state IN ('queued', 'running'))
"""
_EFFECTS = "SELECT count(*) FROM outbox WHERE done_at IS NULL"


async def ours(flow: Flow, first: int, jobs: int) -> float:
    """Missions per second, from the commit of the deliveries to the end of the last mission."""
    await deliver(flow, first, jobs)
    started = time.perf_counter()
    await _until(flow.pool, _OPEN)
    seconds = time.perf_counter() - started
    done = await flow.pool.fetchval(
        "SELECT count(*) FROM missions WHERE state = 'done' AND issue_number >= $1 AND recalled <> '[]'",
        first,
    )
    if done != jobs:
        raise RuntimeError(f"{jobs} missions were to be done with something recalled, {done} were")
    await _until(flow.pool, _EFFECTS)
    return jobs / seconds


async def _until(pool: Pool, waiting: str) -> None:
    async with asyncio.timeout(300):
        while await pool.fetchval(waiting):
            await asyncio.sleep(_LOOK_SECONDS)


async def remember(flow: Flow) -> None:
    """Let the agents work some issues and prove their outcomes, so that there is something to recall."""
    await deliver(flow, 1, KNOWN_WORKS)
    await _until(flow.pool, _OPEN)
    await _until(flow.pool, _EFFECTS)
    await flow.pool.execute(
        "SELECT judge_outcome(id, 'succeeded', 'someone', 'so') FROM missions WHERE state = 'done'"
    )
    flow.gateway.new_lesson.set()
    await _until(
        flow.pool,
        "SELECT count(*) FROM agent_memories m WHERE state = 'succeeded' AND NOT EXISTS ("
        "SELECT FROM agent_memory_embeddings e WHERE e.agent_name = m.agent_name AND e.memory_id = m.id)",
    )


async def procrastinate(up: Servers, jobs: int) -> float:
    """Empty jobs per second."""
    url = up.postgres.superuser_url.rpartition("/")[0] + "/peer"
    script = ROOT / "bench" / "procrastinate_jobs.py"
    process = await asyncio.create_subprocess_exec(
        *(str(JUDGES), str(script), url, str(jobs), str(AT_ONCE)), stdout=PIPE, stderr=DEVNULL
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"procrastinate ended with {process.returncode}; run {script} by hand to see why")
    return jobs / float(output)


async def end_to_end(jobs: int) -> float:
    """Issues per second of the whole ecosystem, embeddings and comments included."""
    samples = json.loads(SAMPLES.read_text())
    copies = [
        {
            **samples[number % len(samples)],
            "number": number + 1,
            "title": f"{samples[number % len(samples)]['title']} ({number})",
        }
        for number in range(jobs)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "issues.json").write_text(json.dumps(copies))
        report = folder / "report.json"
        arguments = {
            "--agents": AGENTS,
            "--issues": folder / "issues.json",
            "--data": folder / "data",
            "--report": report,
            "--port": 0,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runner", "run", "--until-idle"),
            *(str(part) for pair in arguments.items() for part in pair),
            cwd=ROOT,
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        if await process.wait():
            raise RuntimeError("the run did not end well; see its output with `python -m runner run`")
        result = json.loads(report.read_text())
        return float(result["issues"] / result["seconds"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
