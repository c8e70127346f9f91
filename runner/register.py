"""`python -m runner register`: before new runners, the schema is migrated and the agents are made known to it."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from database.connect import open_connection
from database.migrate import migrate
from database.registry import Registration, register_agents
from errors import SettingsError
from runner.agents import Agent, load_agents
from runner.match.scope import refuse_swallowing


def registration_of(agent: Agent) -> Registration:
    """What the database knows of an agent."""
    return Registration(agent.name, agent.resource_name, agent.specialization, agent.digest)


async def register(url: str, folder: Path) -> int:
    """Migrate, then make row, role and partitions of every definition in `folder`; agents without one are retired."""
    if not url:
        raise SettingsError("DATABASE_URL is not set", "set it to the database, as its owner agents_owner")
    agents = load_agents(folder)
    refuse_swallowing(agents)
    async with open_connection(url) as owner:
        try:
            await migrate(owner, report=print)
            retired = await register_agents(owner, [registration_of(agent) for agent in agents])
        except asyncpg.InsufficientPrivilegeError as refused:
            raise SettingsError(
                f"the role in DATABASE_URL may not register agents ({refused})", "log in as agents_owner"
            ) from refused
    print(f"{len(agents)} agents are registered" + (f"; retired: {', '.join(retired)}" if retired else ""))
    return 0
