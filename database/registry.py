"""The registry: each agent's row, login role and partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from database.connect import Connection
from errors import InputError

ROLE_PREFIX = "agent-"
AT_ONCE = 100  # in one transaction: each new agent's tables and indexes take 15 of PostgreSQL's 64 locks a connection


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
    Raises InputError where an agent is known with another role.
    """
    agents = list(agents)
    await refuse_other_roles(connection, {agent.agent: agent.role for agent in agents})
    for start in range(0, len(agents), AT_ONCE):
        async with connection.transaction():
            for agent in agents[start : start + AT_ONCE]:
                await connection.execute(
                    _REGISTER, agent.agent, agent.role, agent.specialization, agent.digest
                )
    retired = await connection.fetch(_RETIRE, [agent.agent for agent in agents])
    return tuple(row["agent_name"] for row in retired)


_KNOWN = "SELECT agent_name, role_name FROM agents WHERE agent_name = ANY($1) OR role_name = ANY($2)"


async def refuse_other_roles(connection: Connection, roles: Mapping[str, str]) -> None:
    """Raise InputError where one of `roles`, by agent, differs from what the database knows; a role is one agent's."""
    agents = {role: agent for agent, role in roles.items()}
    for row in await connection.fetch(_KNOWN, list(roles), list(agents)):
        known, role = row["agent_name"], row["role_name"]
        if roles.get(known, role) != role:
            problem = f"agent {known!r} is registered with another role ({role!r}) than {roles[known]!r}"
        elif agents.get(role, known) != known:
            problem = (
                f"the role {role!r} of agent {agents[role]!r} is registered for another agent ({known!r})"
            )
        else:
            continue
        raise InputError(
            problem, "use a database that does not know them, or give one of the two another name"
        )


_PARTITIONS = """
SELECT format('DROP TABLE %I, %I', 'agent_memory_embeddings_' || agent_id, 'agent_memories_' || agent_id)
FROM agents WHERE agent_name = ANY($1)
"""
_DELETE_FIGURES = "DELETE FROM agent_performance WHERE agent_name = ANY($1)"
_DELETE_AGENTS = "DELETE FROM agents WHERE agent_name = ANY($1)"


async def unregister(connection: Connection, agents: Sequence[str]) -> None:
    """Take back the registration of agents that have done nothing yet; roles stay, since they belong to the cluster."""
    for start in range(0, len(agents), AT_ONCE):
        batch = agents[start : start + AT_ONCE]
        async with connection.transaction():
            for row in await connection.fetch(_PARTITIONS, batch):
                await connection.execute(row[0])
            await connection.execute(_DELETE_FIGURES, batch)
            await connection.execute(_DELETE_AGENTS, batch)


async def agent_names(connection: Connection) -> list[str]:
    """Every agent that was ever registered."""
    return [row["agent_name"] for row in await connection.fetch(_NAMES)]


async def set_passwords(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Give login roles their passwords: on one machine only; RDS takes tokens of the pod's identity."""
    async with connection.transaction():
        for role, password in passwords.items():
            await connection.execute(await connection.fetchval(_ALTER_ROLE, role, password))
