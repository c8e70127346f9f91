"""PostgreSQL and Redis as `make run` starts them, durable, in a temporary folder; and what /proc says of a process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.agents import Agent
from runner.local.database import DATABASE, prepare_database
from runner.local.embedded import EmbeddedPostgres, EmbeddedRedis
from runner.local.state import load_secrets
from runner.register import registration_of

ROOT = Path(__file__).resolve().parent.parent
AGENTS = ROOT / ".github" / "agents"


@dataclass(frozen=True, slots=True)
class Servers:
    """What a benchmark connects to."""

    folder: Path
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    passwords: Mapping[str, str]
    """Of each login role."""

    @property
    def gateway_url(self) -> str:
        return self.postgres.url("gateway", self.passwords["gateway"], DATABASE)

    def agent_url(self, agent: Agent) -> str:
        role = registration_of(agent).role
        return self.postgres.url(role, self.passwords[role], DATABASE)


@asynccontextmanager
async def servers(agents: Sequence[Agent]) -> AsyncIterator[Servers]:
    """Both servers with the schema and `agents`; gone at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secrets = load_secrets(folder)
        postgres = EmbeddedPostgres(folder / "postgres", password=secrets["postgres"])
        redis = EmbeddedRedis(folder / "redis", password=secrets["redis"])
        try:
            await asyncio.gather(postgres.start(), redis.start())
            yield Servers(folder, postgres, redis, await prepare_database(postgres, agents, secrets))
        finally:
            await asyncio.gather(postgres.stop(), redis.stop())


def memory_mib(pid: int) -> Mapping[str, float]:
    """MiB of a process: `rss` all resident pages, `anonymous` its own, `pss` with shared pages divided by sharers."""
    status, rollup = Path(f"/proc/{pid}/status"), Path(f"/proc/{pid}/smaps_rollup")
    fields = dict(
        line.split(":", 1) for file in (status, rollup) for line in file.read_text().splitlines()[1:]
    )
    names = {"rss": "VmRSS", "anonymous": "RssAnon", "pss": "Pss"}
    return {name: round(int(fields[field].split()[0]) / 1024, 1) for name, field in names.items()}
