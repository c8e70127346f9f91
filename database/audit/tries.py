"""What one agent's role really reaches: tried through a log-in of its own, undone at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from database.audit.canaries import Canaries
from database.audit.rights import TABLES
from database.connect import Connection, open_connection
from errors import SettingsError


@dataclass(frozen=True, slots=True)
class Tried:
    """One agent's tries: how many other agents' canaries it went for, and what it should not have reached."""

    agent: str
    others: int
    leaks: tuple[str, ...]


_OWN = """
SELECT (SELECT count(*) FROM agent_memories WHERE id = $1)
     + (SELECT count(*) FROM agent_memory_embeddings WHERE memory_id = $1)
     + (SELECT count(*) FROM recall_candidates($2, $3, NULL, '', '', 0, 1, 0) WHERE id = $1)
"""
_REACHED = """
SELECT 'memory ' || id || ' of ' || agent_name FROM agent_memories WHERE id = ANY($1)
UNION ALL SELECT 'the vector of memory ' || memory_id || ' of ' || agent_name FROM agent_memory_embeddings
WHERE memory_id = ANY($1)
"""
_RECALLED = """
SELECT 'memory ' || r.id || ' by recalling as ' || other.name
FROM unnest($1::text[], $2::text[]) AS other (name, title),
     LATERAL recall_candidates(other.name, other.title, NULL, '', '', 0, 1, 1) AS r
"""
_ROWS = """
SELECT count(*) || ' rows of ' || agent_name || ' in agent_memories' FROM agent_memories
WHERE agent_name IS DISTINCT FROM $1 GROUP BY agent_name
UNION ALL SELECT count(*) || ' rows of ' || agent_name || ' in agent_memory_embeddings' FROM agent_memory_embeddings
WHERE agent_name IS DISTINCT FROM $1 GROUP BY agent_name
UNION ALL SELECT count(*) || ' rows of ' || agent_name || ' in agent_performance' FROM agent_performance
WHERE agent_name IS DISTINCT FROM $1 GROUP BY agent_name
UNION ALL SELECT count(*) || ' rows of ' || coalesce(agent_name, 'nobody') || ' in missions' FROM missions
WHERE agent_name IS DISTINCT FROM $1 GROUP BY agent_name
UNION ALL SELECT count(*) || ' of its own failures and unproven outcomes in agent_memories' FROM agent_memories
WHERE state <> 'succeeded' HAVING count(*) > 0
UNION ALL SELECT count(*) || ' of its own ended missions in missions' FROM missions
WHERE state NOT IN ('queued', 'running') HAVING count(*) > 0
UNION ALL SELECT count(*) || ' pauses of others in pauses' FROM pauses
WHERE scope NOT IN ('all', 'paid', 'agent:' || $1) HAVING count(*) > 0
UNION ALL SELECT CASE WHEN c.relispartition THEN 'partition ' ELSE 'table ' END || c.oid::regclass
    || ' beside the policies'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT (n.nspname = 'public' AND c.relname = ANY($2))
  AND NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND has_schema_privilege(n.oid, 'USAGE')
  AND (has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(c.oid, 'DELETE, TRUNCATE'))
UNION ALL SELECT 'the rights of role ' || rolname FROM pg_roles
WHERE rolname NOT IN (session_user, 'agents', 'rds_iam') AND pg_has_role(oid, 'MEMBER')
"""
_TABLES = [*TABLES["agents"], "pauses"]
# $1: another agent. Each must be refused, or change nothing.
_FORGERIES = {
    "insert a memory of {other}": """
        INSERT INTO agent_memories (agent_name, mission_id, agent_specialization, repository, issue_number, issue_title,
                                    solution_approach) VALUES ($1, gen_random_uuid(), '', 'audit/canary', 1, '', '')""",
    "change memories of {other}": "UPDATE agent_memories SET solution_approach = '' WHERE agent_name = $1",
    "delete memories of {other}": "DELETE FROM agent_memories WHERE agent_name = $1",
    "store an outcome of {other}": "SELECT store_outcome(jsonb_build_object('agent_name', $1::text), NULL, '', '')",
    "change missions of {other}": "UPDATE missions SET reason = reason WHERE agent_name = $1",
}
_HARMLESS = ("UPDATE 0", "DELETE 0")


async def try_as(url: str, agent: str, canaries: Mapping[str, Canaries]) -> Tried:
    """Log in as `agent` and go for everything that is not its own. Raises Unavailable where the server is away."""
    others = [other for other in canaries if other != agent]
    try:
        async with open_connection(url) as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                leaks = await _reads(connection, agent, others, canaries)
                if others:
                    leaks += await _writes(connection, others[0])
            finally:
                await transaction.rollback()
    except SettingsError as refused:
        return Tried(agent, 0, (f"{agent} was not tried, since its role cannot log in: {refused.problem}",))
    except asyncpg.InsufficientPrivilegeError as refused:
        return Tried(agent, 0, (f"{agent} was not tried, since its role lacks a right: {refused}",))
    return Tried(agent, len(others), tuple(f"{agent} reaches {leak}" for leak in leaks))


async def _reads(
    connection: Connection, agent: str, others: list[str], canaries: Mapping[str, Canaries]
) -> list[str]:
    own = canaries[agent]
    leaks = []
    if await connection.fetchval(_OWN, own.success, agent, own.title) != 3:
        leaks.append("not even its own canary, so that what it does not see proves nothing")
    forbidden = [canaries[other].success for other in others] + [
        canary.failure for canary in canaries.values()
    ]
    titles = [canaries[other].title for other in others]
    for query, arguments in (
        (_REACHED, (forbidden,)),
        (_RECALLED, (others, titles)),
        (_ROWS, (agent, _TABLES)),
    ):
        leaks += [row[0] for row in await connection.fetch(query, *arguments)]
    return leaks


async def _writes(connection: Connection, other: str) -> list[str]:
    leaks = []
    for deed, statement in _FORGERIES.items():
        savepoint = connection.transaction()
        await savepoint.start()
        try:
            status = await connection.execute(statement, other)
        except asyncpg.InsufficientPrivilegeError:
            status = _HARMLESS[0]
        except asyncpg.PostgresError:
            status = ""  # allowed, and only stopped by what the row held
        finally:
            await savepoint.rollback()
        if status not in _HARMLESS:
            leaks.append(f"what nobody may: it can {deed.format(other=other)}")
    return leaks
