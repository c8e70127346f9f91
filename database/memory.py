"""Memory: an agent recalls its own proven successes, and nothing else.

Who asks is decided by the database: policies show a login role the rows of its own agent alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import asyncpg

from database.calibration import TEXT_ALONE, calibration_for
from database.candidates import candidates
from database.connect import Connection, Pool
from database.similarity import Candidate, score
from database.vectors import Space, Unembedded
from errors import EmbeddingMismatch

RECALL_LIMIT = 5
THRESHOLD = 0.7  # a 70 % chance of a true match (the proposal's "> 0.7 similarity", calibrated)
# Fifty candidates in all. On the real history, taken as one agent's, the best answer was among them as often right
# as among all 980 works.
BY_VECTOR, BY_WORDS, NEWEST = 25, 20, 5
QUERY_CHARACTERS = 200  # of title and body, whose words choose candidates; all words then judge them


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text's vector, in pgvector's text form so that no runner needs numpy, and what made it."""

    vector: str
    model: str
    version: str

    @property
    def dimension(self) -> int:
        return self.vector.count(",") + 1

    @property
    def space(self) -> Space:
        return Space(self.model, self.dimension, self.version)


@dataclass(frozen=True, slots=True)
class Recalled:
    """One earlier success of the agent that asks."""

    memory_id: UUID
    issue_number: int
    issue_title: str
    solution_approach: str
    lessons_learned: str
    similarity: float
    """Chance from 0 to 1 that it is a true match; of `nearest`, the cosine."""
    why: str
    """Which words it shares and how near its vector is."""
    created_at: datetime
    resolution_time_minutes: float | None
    """Of a backfilled work: how long its pull request was open."""
    authors: tuple[str, ...]
    """People whose words stand in it: the issue's author, and who added to the solution."""


async def recall(
    pool: Pool,
    agent: str,
    *,
    title: str,
    body: str = "",
    embedded: Embedded | None = None,
    threshold: float = THRESHOLD,
    limit: int = RECALL_LIMIT,
) -> list[Recalled]:
    """At most `limit` successes of `agent` that are as similar as `threshold` or more, best first.

    Words and vector count together; without `embedded` words alone do. Raises EmbeddingMismatch where the memories'
    vectors are of another model, dimension or version.
    """
    words = f"{title} {body}"[:QUERY_CHARACTERS]
    vector, space = (embedded.vector, embedded.space) if embedded else (None, None)
    rows = await candidates(pool, agent, words, vector, space, near=BY_VECTOR, worded=BY_WORDS, newest=NEWEST)
    earlier = [
        Candidate(
            row["issue_title"], row["issue_body"], tuple(row["files"]), row["created_at"], row["cosine"]
        )
        for row in rows
    ]
    calibration = (
        calibration_for(embedded.model, embedded.dimension) if embedded else calibration_for(TEXT_ALONE, 0)
    )
    judged = zip(score(title, body, earlier, calibration), rows, strict=True)
    chosen = [(similarity, row) for similarity, row in judged if similarity.chance >= threshold]
    chosen.sort(key=lambda pair: (-pair[0].chance, pair[1]["id"]))
    return [_recalled(row, similarity.chance, similarity.why()) for similarity, row in chosen[:limit]]


async def nearest(pool: Pool, agent: str, embedded: Embedded, *, limit: int = RECALL_LIMIT) -> list[Recalled]:
    """The `limit` successes of `agent` whose vectors stand nearest, however far: no words, no calibration."""
    rows = await candidates(pool, agent, "", embedded.vector, embedded.space, near=limit, worded=0, newest=0)
    rows.sort(key=lambda row: -row["cosine"])
    return [_recalled(row, row["cosine"], f"cosine {row['cosine']:.2f}") for row in rows]


def _recalled(row: asyncpg.Record, similarity: float, why: str) -> Recalled:
    return Recalled(
        memory_id=row["id"],
        issue_number=row["issue_number"],
        issue_title=row["issue_title"],
        solution_approach=row["solution_approach"],
        lessons_learned=row["lessons_learned"] or "",
        similarity=similarity,
        why=why,
        created_at=row["created_at"],
        resolution_time_minutes=row["resolution_time_minutes"],
        authors=tuple(filter(None, (row["issue_author"], *row["solution_authors"]))),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one issue was worked by an agent; the fields are columns of `agent_memories`.

    `mission_id` makes storing idempotent. `state`: pending until others prove or refute it.
    """

    agent_name: str
    mission_id: UUID
    repository: str
    """owner/name"""
    issue_number: int
    issue_title: str
    solution_approach: str
    state: Literal["pending", "succeeded", "failed"] = "pending"
    proven_by: str | None = None
    issue_body: str = ""
    issue_labels: Sequence[str] = ()
    issue_author: str = ""
    lessons_learned: str | None = None
    files: Sequence[str] = ()
    resolution_time_minutes: float | None = None
    pr_number: int | None = None
    pr_merged: bool | None = None
    review_score: int | None = None
    """0 to 100"""
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    solution_authors: Sequence[str] = ()
    """People whose words solution and lessons may hold, beside the issue's author: to find them when one is erased."""


_STORE = "SELECT store_outcome($1, $2::vector, $3, $4)"


async def store_outcome(pool: Pool, outcome: Outcome, embedded: Embedded | None = None) -> UUID:
    """Store an outcome, its statistics and its vector (of title and body) in one transaction; the memory's id.

    Storing the same mission again changes nothing. An agent stores only for itself; its successes stay pending, and a
    pull request and a review score are not its to name.
    Raises asyncpg.InsufficientPrivilegeError for another agent's outcome, EmbeddingMismatch for a vector of another
    space than the memories'.
    """
    vector, model, version = (
        (embedded.vector, embedded.model, embedded.version) if embedded else (None, "", "")
    )
    with _of_the_current_space():
        memory: UUID = await pool.fetchval(
            _STORE, json.dumps(asdict(outcome), default=str), vector, model, version
        )
    return memory


@contextmanager
def _of_the_current_space() -> Iterator[None]:
    """The database refuses other vectors, whoever stores them."""
    try:
        yield
    except asyncpg.RaiseError as refused:
        raise EmbeddingMismatch(refused.args[0]) from refused


@dataclass(frozen=True, slots=True)
class AgentStats:
    """What an agent did so far; all zero before its first mission."""

    agent: str
    total_missions: int = 0
    successful_missions: int = 0
    failed_missions: int = 0
    avg_resolution_time_minutes: float | None = None
    success_rate: float = 0.0
    """Successes among judged missions, 0 to 1."""
    standing: str = "unproven"
    """hall of fame, high performer, needs improvement, quarantined, eliminated, or unproven: performance.py."""


_STATS = """
SELECT agent_name, total_missions, successful_missions, failed_missions, avg_resolution_time_minutes, success_rate,
       standing
FROM agent_performance WHERE agent_name = $1
"""


async def agent_stats(pool: Pool, agent: str) -> AgentStats:
    """The statistics of an agent; a runner sees only its own."""
    row = await pool.fetchrow(_STATS, agent)
    return AgentStats(agent) if row is None else AgentStats(*row)


def vector_text(embedding: Sequence[float]) -> str:
    """pgvector's text form, so that no runner needs numpy."""
    return "[" + ",".join(["%.7g"] * len(embedding)) % tuple(embedding) + "]"


_FINISHED_MISSION = """
SELECT id FROM missions WHERE repository = $1 AND issue_number = $2 AND state IN ('done', 'failed')
ORDER BY accepted_at DESC LIMIT 1
"""
# A work that was loaded from history, or whose mission was pruned, is known by its outcome alone.
_MISSION_OF_PULL_REQUEST = """
SELECT id, issue_number FROM missions WHERE repository = $1 AND pr_number = $2
UNION ALL SELECT mission_id, issue_number FROM agent_memories WHERE repository = $1 AND pr_number = $2 LIMIT 1
"""
_JUDGE = "SELECT judge_outcome($1, $2, $3, $4, $5, $6, $7, $8, $9)"


async def finished_mission(connection: Connection, repository: str, issue_number: int) -> UUID | None:
    """The newest finished mission of an issue."""
    mission: UUID | None = await connection.fetchval(_FINISHED_MISSION, repository, issue_number)
    return mission


async def mission_of_pull_request(
    connection: Connection, repository: str, pr_number: int
) -> tuple[UUID, int] | None:
    """The mission that made a pull request, and the number of its issue."""
    row = await connection.fetchrow(_MISSION_OF_PULL_REQUEST, repository, pr_number)
    return None if row is None else (row["id"], row["issue_number"])


async def judge_outcome(
    connection: Connection,
    mission: UUID,
    *,
    succeeded: bool,
    by: str,
    solution: str | None = None,
    solution_by: str | None = None,
    pr_number: int | None = None,
    merged: bool | None = None,
    reverted: bool = False,
    unless_refuted: bool = False,
) -> UUID | None:
    """The repository's word on an outcome; the memory's id where it changed something. A success is recallable then.

    `solution`, which `solution_by` wrote, takes the place of the agent's own. `unless_refuted`: the word is weaker than
    any that refuted the work, but for a reopening.
    """
    memory: UUID | None = await connection.fetchval(
        _JUDGE,
        mission,
        "succeeded" if succeeded else "failed",
        by,
        solution,
        pr_number,
        merged,
        reverted,
        solution_by,
        unless_refuted,
    )
    return memory


_UNEMBEDDED = """
SELECT m.agent_name, m.id, m.issue_title || E'\\n' || m.issue_body AS text
FROM agent_memories m
WHERE m.state = 'succeeded' AND m.solution_approach <> '' AND NOT EXISTS (
    SELECT FROM agent_memory_embeddings e
    WHERE e.agent_name = m.agent_name AND e.memory_id = m.id AND e.model = $1 AND e.dimension = $2 AND e.version = $3)
ORDER BY m.proven_at LIMIT $4
"""
_STORE_EMBEDDING = "SELECT store_embedding($1, $2, $3, $4, $5::vector)"


async def unembedded(pool: Pool, space: Space, most: int) -> list[Unembedded]:
    """Successes that wait for a vector in `space`, longest first."""
    rows = await pool.fetch(_UNEMBEDDED, space.model, space.dimension, space.version, most)
    return [Unembedded(*row) for row in rows]


async def store_embedding(
    connection: Connection, memory: Unembedded, *, model: str, version: str, embedding: Sequence[float]
) -> None:
    """Store a memory's embedding; it is recallable if the memory is a success at that moment.

    Raises EmbeddingMismatch for a vector of another space than the memories'.
    """
    with _of_the_current_space():
        await connection.execute(
            _STORE_EMBEDDING, memory.agent, memory.memory_id, model, version, vector_text(embedding)
        )


@dataclass(frozen=True, slots=True)
class PastWork:
    """A proven success, as the matcher learns from it."""

    number: int
    agent: str
    title: str
    body: str
    labels: tuple[str, ...]
    files: tuple[str, ...]
    proven_at: str
    """ISO 8601, UTC."""


_PAST_WORKS = """
SELECT issue_number, agent_name, issue_title, issue_body, issue_labels, files,
       to_char(proven_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS proven_at
FROM agent_memories WHERE state = 'succeeded' AND erased_at IS NULL ORDER BY agent_memories.proven_at DESC, id LIMIT $1
"""


_PAST_WORKS_MARK = """
SELECT count(*), max(proven_at) FROM agent_memories WHERE state = 'succeeded' AND erased_at IS NULL
"""


async def past_works_mark(pool: Pool) -> tuple[int, datetime | None]:
    """What differs as soon as the successes do: one is proven, refuted or erased."""
    row = await pool.fetchrow(_PAST_WORKS_MARK)
    assert row is not None
    return row[0], row[1]


async def past_works(pool: Pool, most: int) -> list[PastWork]:
    """The newest `most` successes of all agents, for the gateway; a runner sees only its own."""
    return [
        PastWork(
            number=row["issue_number"],
            agent=row["agent_name"],
            title=row["issue_title"],
            body=row["issue_body"],
            labels=tuple(row["issue_labels"]),
            files=tuple(row["files"]),
            proven_at=row["proven_at"],
        )
        for row in await pool.fetch(_PAST_WORKS, most)
    ]
