"""Learn late: the repository, not the agent, says whether an outcome was a success."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from database.connect import Connection
from database.control import comment_by, latest_mission
from database.last_words import Word, hear, merged_as
from database.memory import finished_mission, judge_outcome, mission_of_pull_request
from database.reverts import Revert, closed_by, note_reverts, reverted_by
from runner.gateway.words import is_last, moment_of
from runner.issue import Issue

SUCCESS_LABEL = "outcome:success"
FAILURE_LABEL = "outcome:failure"
LATER = "a later word judged it"


async def learn_from_issue(
    connection: Connection, issue: Issue, event: str, person: str, state_reason: str, at: datetime | None
) -> str:
    """Judge the outcome of `issue` by `event`: closed, reopened, or one of the outcome labels."""
    if event == "closed" and state_reason != "completed":
        # Not planned, or a duplicate: that says nothing about the work.
        return f"closed as {state_reason}: not judged"
    find = _last_finished if event == "closed" else finished_mission
    mission = await find(connection, issue.repository, issue.number)
    if mission is None:
        return "no outcome to judge"
    succeeded = event in ("closed", SUCCESS_LABEL)
    if event not in ("closed", "reopened", SUCCESS_LABEL, FAILURE_LABEL):
        return f"label {event} is not an outcome: use {SUCCESS_LABEL} or {FAILURE_LABEL}"
    # That an issue was closed or fixed and how good a work is are matters apart: a label that is heard late still
    # overrules the closing that came after it. A reopening is a word on all.
    topics = {"closed": ["closing"], "reopened": ["closing", "fix", "verdict"]}.get(event, ["verdict"])
    last = [
        await is_last(connection, issue.repository, issue.number, f"{topic} {mission}", event, at)
        for topic in topics
    ]
    if not all(last):
        return LATER
    solution = await comment_by(connection, mission, person) if event == "closed" else None
    memory = await judge_outcome(
        connection,
        mission,
        succeeded=succeeded,
        by=f"{person}: {event}",
        solution=solution,
        solution_by=person,
        unless_refuted=event == "closed",
    )
    return _verdict(memory is not None, succeeded)


async def learn_from_pull_request(
    connection: Connection, repository: str, action: str, payload: Mapping[str, Any]
) -> str:
    """Judge by a pull request: ours merged or closed, or anybody's merged that reverts ours."""
    pull_request = payload.get("pull_request")
    number = pull_request.get("number") if isinstance(pull_request, Mapping) else None
    if action != "closed" or not isinstance(pull_request, Mapping) or not isinstance(number, int):
        return f"pull_request {action} changes nothing"
    merged = bool(pull_request.get("merged"))
    at = moment_of(pull_request, "closed_at")
    by = f"pull request #{number} {'merged' if merged else 'closed'}"
    words = []
    work = await mission_of_pull_request(connection, repository, number)
    if work is not None:
        mission, issue_number = work
        if await is_last(connection, repository, issue_number, f"verdict {mission}", by, at):
            memory = await judge_outcome(
                connection, mission, succeeded=merged, by=by, pr_number=number, merged=merged
            )
            words.append(_verdict(memory is not None, merged))
        else:
            words.append(LATER)
    if merged:
        commit = pull_request.get("merge_commit_sha")
        if isinstance(commit, str) and at is not None:
            await hear(connection, Word(repository, number, "commit", commit, at))
        body = str(pull_request.get("body") or "")
        if work is None:
            words += await _close(connection, repository, number, body, by, at)
        words += await _take_back(connection, repository, number, body, by, at)
    return "; ".join(words) or "not a pull request of ours"


async def _close(
    connection: Connection, repository: str, number: int, body: str, by: str, at: datetime | None
) -> list[str]:
    """A person's pull request `number` was merged: it proves the work on each issue that it closes.

    The outcome then knows the pull request, so that a revert of it is one of the work.
    """
    words = []
    for issue in closed_by(body, repository):
        mission = await _last_finished(connection, repository, issue)
        if mission is None or not await is_last(connection, repository, issue, f"fix {mission}", by, at):
            continue
        memory = await judge_outcome(
            connection, mission, succeeded=True, by=by, pr_number=number, merged=True, unless_refuted=True
        )
        words.append(f"issue #{issue}: {_verdict(memory is not None, True)}")
    return words


async def _last_finished(connection: Connection, repository: str, number: int) -> UUID | None:
    """The last mission of an issue, if it is finished: after one that declined, say, a closing credits nobody."""
    latest = await latest_mission(connection, repository, number)
    return latest.id if latest is not None and latest.state in ("done", "failed") else None


async def _take_back(
    connection: Connection, repository: str, number: int, body: str, by: str, at: datetime | None
) -> list[str]:
    """What pull request `number` reverts is no success any more."""
    reverted = reverted_by(body, repository)
    numbers = {*reverted.numbers, *await merged_as(connection, repository, reverted.commits)} - {number}
    # A history file may bring its work later.
    reverts = [Revert(each, number, at or datetime.now(UTC)) for each in sorted(numbers)]
    await note_reverts(connection, repository, reverts)
    words = []
    for each in sorted(numbers):
        work = await mission_of_pull_request(connection, repository, each)
        if work is None:
            continue
        mission, issue_number = work
        said = f"reverted by #{number}"
        if await is_last(connection, repository, issue_number, f"verdict {mission}", said, at):
            memory = await judge_outcome(connection, mission, succeeded=False, by=by, reverted=True)
            words.append("reverted: " + _verdict(memory is not None, False))
    return words


def _verdict(changed: bool, succeeded: bool) -> str:
    if not changed:
        return "judged before"
    return "proven: recallable from now on" if succeeded else "refuted: not recallable"
