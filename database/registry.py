"""The registry: each agent's row, login role and partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from database.connect import Connection

ROLE_PREFIX = "agent-"
_AT_ONCE = 100  # in one transaction: each new agent's tables and indexes take 15 of PostgreSQL's 64 locks a connection


@dataclass(frozen=True, slots=True)
class Registration:
    """What the database knows of an agent."""

    agent: str
    resource_name: str
    specialization: str
    digest: str

    @property
    def role(self) -> str:
        """The login role; lower case, because a pod's identity names it by its service account."""
        return ROLE_PREFIX + self.resource_name


_REGISTER = "SELECT register_agent($1, $2, $3, $4)"
_RETIRE = """
UPDATE agents SET retired_at = now() WHERE retired_at IS NULL AND agent_name <> ALL($1) RETURNING agent_name
"""
_NAMES = "SELECT agent_name FROM agents ORDER BY agent_name"
_ALTER_ROLE = "SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)"


async def register_agents(connection: Connection, agents: Iterable[Registration]) -> tuple[str, ...]:
    """Make the database know exactly these agents; the names of those that were retired by it.

    A retired agent keeps its memory and its role; it only gets no more missions. Safe to repeat, also after a crash.
    """
    agents = list(agents)
    for start in range(0, len(agents), _AT_ONCE):
        async with connection.transaction():
            for agent in agents[start : start + _AT_ONCE]:
                await connection.execute(
                    _REGISTER, agent.agent, agent.role, agent.specialization, agent.digest
                )
    retired = await connection.fetch(_RETIRE, [agent.agent for agent in agents])
    return tuple(row["agent_name"] for row in retired)


async def agent_names(connection: Connection) -> list[str]:
    """Every agent that was ever registered."""
    return [row["agent_name"] for row in await connection.fetch(_NAMES)]


async def set_passwords(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Give login roles their passwords: on one machine only; RDS takes tokens of the pod's identity."""
    async with connection.transaction():
        for role, password in passwords.items():
            await connection.execute(await connection.fetchval(_ALTER_ROLE, role, password))
