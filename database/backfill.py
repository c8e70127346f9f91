"""Gives agents the memory of what they did before: merged works are proven successes, closed ones failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, UUID, uuid5

from database.connect import Connection
from database.embed_memories import embed_memories
from database.embeddings.protocol import Embedder
from database.erased import ErasedPeople, erased_numbers
from database.last_words import merged_as
from database.outcomes import PastOutcome, add_outcomes
from database.progress import progress
from database.pull_requests import PullRequest
from database.reverts import Revert, note_reverts, noted_reverts, reverted_by
from errors import Unavailable

MAX_APPROACH = 8_000  # characters of a work's own words that are shown to an agent that recalls it
MAX_FILES_NAMED = 20

NO_LABEL = "no agent:<name> label"
NOT_FINISHED = "still open"
NO_STATE = "neither merged nor closed, as far as the file says (add state,mergedAt,closedAt to --json)"
TWICE = "listed twice"
KNOWN = "stored before"
ERASED = "it or its author was erased"


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
# A pull request that one of our own missions made was remembered when it was merged.
_KNOWN = """
SELECT issue_number AS number FROM agent_memories WHERE repository = $1 AND mission_id = ANY($2)
UNION SELECT pr_number FROM agent_memories WHERE repository = $1 AND pr_number = ANY($3)
"""
_REVERT = """
WITH taken_back AS (
    UPDATE agent_memories SET state = 'failed', reverted_at = r.at, proven_by = r.verdict
    FROM unnest($2::integer[], $3::text[], $4::timestamptz[]) AS r (number, verdict, at)
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
    connection: Connection,
    pull_requests: Sequence[PullRequest],
    repository: str,
    embedder: Embedder | None,
    *,
    days: int | None = None,
) -> Backfilled:
    """Store every finished work of a known agent, then embed what is not embedded yet; as the schema's owner.

    `days`: how long memories are kept; what ended earlier is skipped, for it would be removed at once.
    The outcomes are stored all or none; the vectors follow in batches. Running it again adds only what is missing.
    Raises Unavailable where the embedding service is away, with the outcomes stored.
    """
    agents = {row["key"]: row["agent_name"] for row in await connection.fetch(_AGENTS)}
    numbers = [each.number for each in pull_requests]
    oldest = None if days is None else datetime.now(UTC) - timedelta(days=days)
    async with connection.transaction():
        people = await ErasedPeople.read(connection)
        erased = await erased_numbers(connection, repository, numbers)
        known = {
            row["number"]
            for row in await connection.fetch(
                _KNOWN,
                repository,
                [mission_of(repository, number) for number in numbers],
                numbers,
            )
        }
        new: list[tuple[str, PullRequest]] = []
        skipped: dict[str, list[int]] = {}
        seen: set[int] = set()
        for each in pull_requests:
            agent, reason = _agent_of(each, agents)
            if each.number in seen:
                reason = TWICE
            elif each.number in erased or people.wrote(each.author):
                reason = ERASED
            elif not reason and each.number in known:
                reason = KNOWN
            elif not reason and oldest is not None and each.ended_at is not None and each.ended_at < oldest:
                reason = f"older than memories are kept (MEMORIES_DAYS={days})"
            seen.add(each.number)
            if reason:
                skipped.setdefault(reason, []).append(each.number)
            else:
                new.append((agent, each))
        reverts = await _reverts(connection, repository, pull_requests)
        outcomes = [_outcome(repository, agent, each, reverts.get(each.number)) for agent, each in new]
        if outcomes:
            with progress("storing", len(outcomes)) as advance:
                await add_outcomes(connection, outcomes)
                advance(len(outcomes))  # one statement stores them all
        reverted: int = await connection.fetchval(
            _REVERT,
            repository,
            list(reverts),
            [revert.verdict for revert in reverts.values()],
            [revert.at for revert in reverts.values()],
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


async def _reverts(
    connection: Connection, repository: str, pull_requests: Sequence[PullRequest]
) -> dict[int, Revert]:
    """What was taken back, by its number: as the file says, wherever in it, or as files and webhooks said before.

    All of the file's are noted, since the works may come in a later one.
    """
    found: dict[int, Revert] = {}
    for each in sorted(pull_requests, key=lambda each: each.number):
        if each.state != "merged" or each.ended_at is None:
            continue
        reverted = reverted_by(each.body, repository)
        commits = [
            other.number
            for other in pull_requests
            if any(other.merge_commit.startswith(commit) for commit in reverted.commits)
        ]
        heard = await merged_as(connection, repository, reverted.commits)
        for number in {*reverted.numbers, *commits, *heard} - {each.number}:
            found.setdefault(number, Revert(number, each.number, each.ended_at))
    await note_reverts(connection, repository, list(found.values()))
    numbers = {each.number for each in pull_requests} | set(found)
    return {revert.number: revert for revert in await noted_reverts(connection, repository, numbers)}


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


def _outcome(repository: str, agent: str, pull_request: PullRequest, revert: Revert | None) -> PastOutcome:
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
        state="succeeded" if merged and revert is None else "failed",
        proven_by=verdict if revert is None else revert.verdict,
        proven_at=ended,
        reverted_at=None if revert is None else revert.at,
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
