"""A sound database for the audit's tests: three agents, each with a proven success. Made once, copied for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from database.connect import open_connection
from database.memory import judge_outcome
from database.missions import Finish, NewMission, add_mission, claim_missions, finish_mission
from runner.local.embedded import EmbeddedPostgres
from tests.servers.conftest import Database, fresh_database

AGENTS = ("left-agent", "right-agent", "APIs-architect")
FLEET = "audited_fleet"


@asynccontextmanager
async def fleet_of(server: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database of its own with the fleet in it. Roles outlive it."""
    async with open_connection(server.superuser_url) as superuser:
        made = await superuser.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", FLEET)
    if not made:
        async with fresh_database(server) as database:
            await database.register(*AGENTS)
            for number, agent in enumerate(AGENTS, start=1):
                await remember(database, number, agent)
            async with open_connection(server.superuser_url) as superuser:
                await superuser.execute(
                    f"CREATE DATABASE {FLEET} OWNER agents_owner TEMPLATE {database.name}"
                )
    async with fresh_database(server, FLEET) as database:
        yield database


async def remember(database: Database, number: int, agent: str, recalled: list[dict[str, Any]] | None = None):
    """A mission of `agent` that the repository has proven; its memory."""
    new = NewMission("o/r", number, "opened", f"issue {number}", "", [], "a", "US", "queued", agent=agent)
    async with database.connect("gateway") as gateway, database.agent_pool(agent) as pool:
        await add_mission(gateway, new)
        (mission,) = await claim_missions(pool, agent, "r1", most=1)
        await finish_mission(pool, mission, Finish("done", solution=f"by {agent}", recalled=recalled))
        return await judge_outcome(gateway, mission.id, succeeded=True, by="person: closed")
