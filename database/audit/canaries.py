"""Canaries: memories that exist only while an audit runs, for agents to try to reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from database.connect import Connection

# Nothing recalls them meanwhile: their title shares no word with any issue, and no mission has a vector of this model.
_PLANT = """
WITH planted AS (
    INSERT INTO agent_memories (agent_name, mission_id, agent_specialization, repository, issue_number, issue_title,
                                solution_approach, state, proven_by, proven_at, created_at)
    SELECT agent_name, gen_random_uuid(), 'audit', 'audit/canary', 1, 'canary' || md5(random()::text), 'canary',
           state, 'audit', before, before
    FROM agents, unnest(ARRAY['succeeded', 'failed']) AS state, (SELECT now() - interval '1 day' AS before) AS t
    RETURNING agent_name, id, issue_title, state),
embedded AS (
    INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, recallable, embedding)
    SELECT agent_name, id, 'audit', 1, state = 'succeeded', '[1]' FROM planted)
SELECT agent_name, id, issue_title, state FROM planted
"""
_REMOVE = "DELETE FROM agent_memories WHERE repository = 'audit/canary' AND proven_by = 'audit'"


@dataclass(frozen=True, slots=True)
class Canaries:
    """The planted memories of one agent."""

    success: UUID
    failure: UUID
    title: str
    """Of the success."""


@asynccontextmanager
async def planted_canaries(owner: Connection) -> AsyncIterator[dict[str, Canaries]]:
    """A success and a failure for each agent, gone at the end; those that a killed audit left go first."""
    await owner.execute(_REMOVE)
    try:
        rows = await owner.fetch(_PLANT)
        failures = {row["agent_name"]: row["id"] for row in rows if row["state"] == "failed"}
        yield {
            row["agent_name"]: Canaries(row["id"], failures[row["agent_name"]], row["issue_title"])
            for row in rows
            if row["state"] == "succeeded"
        }
    finally:
        await owner.execute(_REMOVE)
