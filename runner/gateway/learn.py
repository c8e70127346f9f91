"""Learn late: the repository, not the agent, says whether an outcome was a success."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from database.connect import Connection
from database.control import comment_by
from database.memory import finished_mission, judge_outcome, mission_of_pull_request
from runner.issue import Issue

SUCCESS_LABEL = "outcome:success"
FAILURE_LABEL = "outcome:failure"
# GitHub's own text in the body of a pull request made with its Revert button.
_REVERTS = re.compile(r"^Reverts (?:([\w.-]+/[\w.-]+))?#(\d+)", re.MULTILINE)


async def learn_from_issue(
    connection: Connection, issue: Issue, event: str, person: str, state_reason: str
) -> str:
    """Judge the outcome of `issue` by `event`: closed, reopened, or one of the outcome labels."""
    if event == "closed" and state_reason != "completed":
        # Not planned, or a duplicate: that says nothing about the work.
        return f"closed as {state_reason}: not judged"
    mission = await finished_mission(connection, issue.repository, issue.number)
    if mission is None:
        return "no outcome to judge"
    succeeded = event in ("closed", SUCCESS_LABEL)
    if event not in ("closed", "reopened", SUCCESS_LABEL, FAILURE_LABEL):
        return f"label {event} is not an outcome: use {SUCCESS_LABEL} or {FAILURE_LABEL}"
    solution = await comment_by(connection, mission, person) if event == "closed" else None
    memory = await judge_outcome(
        connection,
        mission,
        succeeded=succeeded,
        by=f"{person}: {event}",
        solution=solution,
        solution_by=person,
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
    by = f"pull request #{number} {'merged' if merged else 'closed'}"
    words = []
    mission = await mission_of_pull_request(connection, repository, number)
    if mission is not None:
        memory = await judge_outcome(
            connection, mission, succeeded=merged, by=by, pr_number=number, merged=merged
        )
        words.append(_verdict(memory is not None, merged))
    reverted = _REVERTS.search(str(pull_request.get("body") or "")) if merged else None
    if reverted is not None and (reverted[1] or repository).lower() == repository.lower():
        mission = await mission_of_pull_request(connection, repository, int(reverted[2]))
        if mission is not None:
            memory = await judge_outcome(connection, mission, succeeded=False, by=by, reverted=True)
            words.append("reverted: " + _verdict(memory is not None, False))
    return "; ".join(words) or "not a pull request of ours"


def _verdict(changed: bool, succeeded: bool) -> str:
    if not changed:
        return "judged so before"
    return "proven: recallable from now on" if succeeded else "refuted: not recallable"
