"""Proves on the live database that no agent reaches another's memory: by trying, and by reading the catalog."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from database.audit.canaries import planted_canaries
from database.audit.catalog import CHECKS
from database.audit.check import Finding, run_checks
from database.audit.tries import Tried, try_as
from database.connect import Connection

AT_ONCE = 8  # log-ins: connections are a budget that the agents need meanwhile

AgentUrl = Callable[[str], str]
"""The URL with which a login role connects."""


@dataclass(frozen=True, slots=True)
class Read:
    """One mission that was given memories."""

    agent: str
    mission: UUID
    repository: str
    issue_number: int
    at: datetime
    memories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """`findings` is empty where everything is as it must be."""

    agents: int
    pairs: int
    """Agent and other agent whose canary it went for."""
    seconds: float
    findings: tuple[Finding, ...]
    grants: tuple[str, ...]
    policies: tuple[str, ...]
    reads: tuple[Read, ...]
    """The latest, newest first."""


_ROLES = "SELECT agent_name, role_name::text FROM agents ORDER BY agent_name"
_GRANTS = """
SELECT format('%s: %s on %s', CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END,
              string_agg(privilege || coalesce(' (' || columns || ')', ''), ', ' ORDER BY privilege), oid::regclass)
FROM (
    SELECT acl.grantee, acl.privilege_type AS privilege, c.oid, NULL AS columns
    FROM audited_relations c, aclexplode(c.relacl) AS acl WHERE acl.grantee <> c.relowner
    UNION ALL
    SELECT acl.grantee, acl.privilege_type, c.oid, string_agg(a.attname, ', ' ORDER BY a.attnum)
    FROM audited_relations c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) AS acl
    WHERE acl.grantee <> c.relowner GROUP BY 1, 2, 3
) AS held GROUP BY grantee, oid ORDER BY 1
"""
_POLICIES = """
SELECT format('%s: %s may %s where %s', tablename, array_to_string(roles, ', '), lower(cmd), qual)
FROM pg_policies JOIN audited_schemas ON nspname = schemaname ORDER BY 1
"""
_READS = """
SELECT agent_name, id, repository, issue_number, coalesce(finished_at, claimed_at, accepted_at) AS at, recalled
FROM missions WHERE jsonb_typeof(recalled) = 'array' AND recalled <> '[]'
ORDER BY at DESC LIMIT $1
"""


async def audit(owner: Connection, agent_url: AgentUrl, *, last: int = 20) -> Audit:
    """Try every agent against every other's canary and check the catalog, as the schema's owner.

    `last`: how many of the latest reads are listed. Raises Unavailable where an agent's role cannot log in.
    """
    started = time.monotonic()
    findings = await run_checks(owner, CHECKS)
    roles = {row["agent_name"]: row["role_name"] for row in await owner.fetch(_ROLES)}
    tried: list[Tried] = []
    try:
        tried = await _try_all(owner, agent_url, roles)
    except asyncpg.CheckViolationError as refused:
        findings.append(
            Finding("reach", f"no canary could be planted: {refused}", "see the check of partitions")
        )
    leaks = [
        Finding("reach", leak, "what the other checks report is why") for each in tried for leak in each.leaks
    ]
    return Audit(
        agents=len(roles),
        pairs=sum(each.others for each in tried),
        seconds=round(time.monotonic() - started, 2),
        findings=(*leaks, *findings),
        grants=tuple(row[0] for row in await owner.fetch(_GRANTS)),
        policies=tuple(row[0] for row in await owner.fetch(_POLICIES)),
        reads=tuple(
            Read(
                agent=row["agent_name"],
                mission=row["id"],
                repository=row["repository"],
                issue_number=row["issue_number"],
                at=row["at"],
                memories=tuple(str(memory.get("memory_id")) for memory in json.loads(row["recalled"])),
            )
            for row in await owner.fetch(_READS, last)
        ),
    )


async def _try_all(owner: Connection, agent_url: AgentUrl, roles: dict[str, str]) -> list[Tried]:
    at_once = asyncio.Semaphore(AT_ONCE)
    async with planted_canaries(owner) as canaries:

        async def one(agent: str) -> Tried:
            async with at_once:
                return await try_as(agent_url(roles[agent]), agent, canaries)

        try:
            async with asyncio.TaskGroup() as group:
                tries = [group.create_task(one(agent)) for agent in canaries]
        except ExceptionGroup as several:
            raise several.exceptions[0] from None  # they all met the same server
    return [each.result() for each in tries]
