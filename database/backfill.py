"""Gives agents the memory of what they did before: merged works are proven successes, closed ones failures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from database.connect import Connection
from database.embed_memories import embed_memories
from database.embeddings.protocol import Embedder
from database.outcomes import PastOutcome, add_outcomes
from database.pull_requests import PullRequest
from errors import Unavailable

MAX_APPROACH = 8_000  # characters of a work's own words that are shown to an agent that recalls it
MAX_FILES_NAMED = 20

NO_LABEL = "no agent:<name> label"
NOT_FINISHED = "still open"
NO_STATE = "neither merged nor closed, as far as the file says (add state,mergedAt,closedAt to --json)"
TWICE = "listed twice"
KNOWN = "stored before"
ERASED = "its author was erased"


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What came of a file. `skipped`: reason → numbers of the pull requests."""

    repository: str
    works: int
    succeeded: int
    failed: int
    agents: int
    reverted: int
    """Successes of an earlier run that this file takes back."""
    embedded: int
    skipped: Mapping[str, Sequence[int]]


def mission_of(repository: str, number: int) -> UUID:
    """The same for every run, so that a work is stored once. GitHub's names do not differ by case."""
    return uuid5(NAMESPACE_URL, f"https://github.com/{repository.lower()}/pull/{number}")


_AGENTS = "SELECT lower(agent_name) AS key, agent_name FROM agents"
_ERASED = "SELECT login_digest FROM erasures"
# A pull request that one of our own missions made was remembered when it was merged.
_KNOWN = """
SELECT issue_number AS number FROM agent_memories WHERE repository = $1 AND mission_id = ANY($2)
UNION SELECT pr_number FROM agent_memories WHERE repository = $1 AND pr_number = ANY($3)
"""
_REVERT = """
WITH taken_back AS (
    UPDATE agent_memories SET state = 'failed', reverted_at = r.at, proven_by = 'pull request #' || r.by || ' merged'
    FROM unnest($2::integer[], $3::integer[], $4::timestamptz[]) AS r (number, by, at)
    WHERE repository = $1 AND pr_number = r.number AND state = 'succeeded'
    RETURNING agent_name, id),
hidden AS (
    UPDATE agent_memory_embeddings e SET recallable = false FROM taken_back t
    WHERE e.agent_name = t.agent_name AND e.memory_id = t.id),
counted AS (SELECT agent_name, count(*) AS all FROM taken_back GROUP BY agent_name),
statistics AS (
    UPDATE agent_performance p SET successful_missions = p.successful_missions - c.all,
        failed_missions = p.failed_missions + c.all, last_updated = now()
    FROM counted c WHERE p.agent_name = c.agent_name)
SELECT count(*) FROM taken_back
"""


async def backfill(
    connection: Connection, pull_requests: Sequence[PullRequest], repository: str, embedder: Embedder | None
) -> Backfilled:
    """Store every finished work of a known agent, then embed what is not embedded yet; as the schema's owner.

    The outcomes are stored all or none; the vectors follow in batches. Running it again adds only what is missing.
    Raises Unavailable where the embedding service is away, with the outcomes stored.
    """
    agents = {row["key"]: row["agent_name"] for row in await connection.fetch(_AGENTS)}
    erased = {row["login_digest"] for row in await connection.fetch(_ERASED)}
    async with connection.transaction():
        known = {
            row["number"]
            for row in await connection.fetch(
                _KNOWN,
                repository,
                [mission_of(repository, each.number) for each in pull_requests],
                [each.number for each in pull_requests],
            )
        }
        new: list[tuple[str, PullRequest]] = []
        skipped: dict[str, list[int]] = {}
        seen: set[int] = set()
        for each in pull_requests:
            agent, reason = _agent_of(each, agents)
            if each.number in seen:
                reason = TWICE
            elif each.author and login_digest(each.author) in erased:
                reason = ERASED
            elif not reason and each.number in known:
                reason = KNOWN
            seen.add(each.number)
            if reason:
                skipped.setdefault(reason, []).append(each.number)
            else:
                new.append((agent, each))
        reverts = {each.reverts: each for each in pull_requests if each.reverts is not None}
        outcomes = [_outcome(repository, agent, each, reverts.get(each.number)) for agent, each in new]
        if outcomes:
            await add_outcomes(connection, outcomes)
        reverted: int = await connection.fetchval(
            _REVERT,
            repository,
            list(reverts),
            [each.number for each in reverts.values()],
            [each.ended_at for each in reverts.values()],
        )
    try:
        embedded = 0 if embedder is None else await embed_memories(connection, embedder)
    except Unavailable as away:
        raise Unavailable(f"{away}; the outcomes are stored, run it again to embed what is missing") from away
    return Backfilled(
        repository=repository,
        works=len(pull_requests),
        succeeded=sum(outcome.state == "succeeded" for outcome in outcomes),
        failed=sum(outcome.state == "failed" for outcome in outcomes),
        agents=len({outcome.agent_name for outcome in outcomes}),
        reverted=reverted,
        embedded=embedded,
        skipped=skipped,
    )


def login_digest(login: str) -> str:
    """How `erasures` names a person."""
    return hashlib.sha256(login.lower().encode()).hexdigest()


def _agent_of(pull_request: PullRequest, agents: Mapping[str, str]) -> tuple[str, str]:
    """The agent, or empty and the reason why the work is skipped. Of several labels the first known one counts."""
    if not pull_request.agents:
        return "", NO_LABEL
    known = [agents[name.lower()] for name in pull_request.agents if name.lower() in agents]
    if not known:
        return "", f"unknown agent {pull_request.agents[0][:100]}"
    if pull_request.state == "open":
        return "", NOT_FINISHED
    if pull_request.state == "unknown":
        return "", NO_STATE
    return known[0], ""


def _outcome(
    repository: str, agent: str, pull_request: PullRequest, reverted_by: PullRequest | None
) -> PastOutcome:
    merged = pull_request.state == "merged"
    ended = pull_request.ended_at
    assert ended is not None, "only finished works come here"
    mission = mission_of(repository, pull_request.number)
    verdict = f"pull request #{pull_request.number} {'merged' if merged else 'closed'}"
    return PastOutcome(
        agent_name=agent,
        id=mission,
        mission_id=mission,
        repository=repository,
        issue_number=pull_request.number,
        issue_title=pull_request.title,
        issue_body=pull_request.body,
        issue_labels=pull_request.labels,
        issue_author=pull_request.author,
        solution_approach=_approach(pull_request, verdict),
        files=pull_request.files,
        state="succeeded" if merged and reverted_by is None else "failed",
        proven_by=verdict if reverted_by is None else f"pull request #{reverted_by.number} merged",
        proven_at=ended,
        reverted_at=None if reverted_by is None else reverted_by.ended_at,
        resolution_time_minutes=_minutes(pull_request.created_at, ended),
        pr_number=pull_request.number,
        pr_merged=merged,
    )


def _approach(pull_request: PullRequest, verdict: str) -> str:
    files = ", ".join(pull_request.files[:MAX_FILES_NAMED])
    more = len(pull_request.files) - MAX_FILES_NAMED
    changed = f" It changed {files}{f' and {more} more' if more > 0 else ''}." if files else ""
    words = pull_request.body.strip()[:MAX_APPROACH]
    return f"{verdict[0].upper()}{verdict[1:]}.{changed}" + (f"\n\n{words}" if words else "")


def _minutes(start: datetime | None, end: datetime) -> float | None:
    return None if start is None or start > end else (end - start).total_seconds() / 60
