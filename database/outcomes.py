"""Outcomes of past work in bulk: binary COPY into a staging table, then one insert under the policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Literal
from uuid import UUID

from database.connect import Connection


@dataclass(frozen=True, slots=True)
class PastOutcome:
    """One finished and judged piece of work, as it goes into `agent_memories`."""

    agent_name: str
    id: UUID
    mission_id: UUID
    repository: str
    """owner/name"""
    issue_number: int
    issue_title: str
    issue_body: str
    issue_labels: Sequence[str]
    issue_author: str
    solution_approach: str
    files: Sequence[str]
    state: Literal["succeeded", "failed"]
    proven_by: str
    proven_at: datetime
    reverted_at: datetime | None
    resolution_time_minutes: float | None
    """How long the pull request was open."""
    pr_number: int | None
    pr_merged: bool | None


_columns = attrgetter(*(field.name for field in fields(PastOutcome)))
_STAGE = """
CREATE TEMPORARY TABLE staged_outcomes (
    agent_name text, id uuid, mission_id uuid, repository text, issue_number integer, issue_title text,
    issue_body text, issue_labels text[], issue_author text, solution_approach text, files text[], state text,
    proven_by text, proven_at timestamptz, reverted_at timestamptz, resolution_time_minutes double precision,
    pr_number integer, pr_merged boolean
) ON COMMIT DROP
"""
_SORT_IN_MEMORY = "SET LOCAL work_mem = '64MB'"
# One load at a time: two of the same file would count twice what neither sees of the other.
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('past outcomes'))"
# In the order of partitions and keys, which halves the time. How long a pull request was open is no mission's time, so
# the mean of those stays.
_ADD = """
WITH new AS (
    INSERT INTO agent_memories (
        agent_name, id, mission_id, agent_specialization, repository, issue_number, issue_title, issue_body,
        issue_labels, issue_author, solution_approach, files, state, proven_by, proven_at, reverted_at,
        resolution_time_minutes, pr_number, pr_merged, created_at, backfilled)
    SELECT s.agent_name, s.id, s.mission_id, a.specialization, s.repository, s.issue_number, s.issue_title,
           s.issue_body, s.issue_labels, s.issue_author, s.solution_approach, s.files, s.state, s.proven_by,
           s.proven_at, s.reverted_at, s.resolution_time_minutes, s.pr_number, s.pr_merged, s.proven_at,
           true
    FROM staged_outcomes s JOIN agents a USING (agent_name)
    ORDER BY s.agent_name, s.id
    ON CONFLICT DO NOTHING
    RETURNING agent_name, state),
counted AS (
    SELECT agent_name, count(*) AS all, count(*) FILTER (WHERE state = 'succeeded') AS succeeded
    FROM new GROUP BY agent_name)
UPDATE agent_performance p SET
    total_missions = p.total_missions + c.all,
    successful_missions = p.successful_missions + c.succeeded,
    failed_missions = p.failed_missions + c.all - c.succeeded,
    last_updated = now()
FROM counted c WHERE p.agent_name = c.agent_name
RETURNING c.all AS added
"""


async def add_outcomes(connection: Connection, outcomes: Sequence[PastOutcome]) -> int:
    """Store outcomes and count them in the statistics, in one transaction, as the schema's owner; how many were new.

    An outcome whose agent and mission stand there already is left as it is.
    """
    async with connection.transaction():
        await connection.execute(_LOCK)
        await connection.execute(_STAGE)
        await connection.execute(_SORT_IN_MEMORY)
        await connection.copy_records_to_table("staged_outcomes", records=map(_columns, outcomes))
        return sum(row["added"] for row in await connection.fetch(_ADD))
