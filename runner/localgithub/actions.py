"""Workflow runs: dispatched by a call, finished by whoever plays the workflow (docs.github.com/rest/actions).

The local GitHub runs no workflow; a run stays queued until `finish_run`.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from typing import Any

import yaml

from runner.localgithub import git_store
from runner.localgithub.people import user_shape
from runner.localgithub.repositories import event_payload, repository_shape
from runner.localgithub.state import ApiError, State, stable_id

FOLDER = ".github/workflows/"
CONCLUSIONS = ("success", "failure", "cancelled", "timed_out", "neutral", "skipped", "action_required")
INPUT = re.compile(r"\$\{\{\s*(?:github\.event\.)?inputs\.([A-Za-z0-9_-]+)\s*\}\}")
MAX_INPUTS = 25


def dispatch(
    state: State, repository: str, workflow: str, ref: str, inputs: Mapping[str, str], actor: str
) -> int:
    """Queues a run of `workflow` (file name) on branch `ref`; gives its id. ApiError as GitHub answers."""
    sha = git_store.branch_sha(state, repository, ref.removeprefix("refs/heads/"))
    if sha is None:
        raise ApiError(422, f"No ref found for: {ref}")
    definition = _definition(state, sha, workflow)
    # YAML 1.1 reads the key `on` as true.
    triggers = definition.get("on", definition.get(True))  # type: ignore[call-overload]
    if triggers != "workflow_dispatch" and (
        not isinstance(triggers, (dict, list)) or "workflow_dispatch" not in triggers
    ):
        raise ApiError(422, "Workflow does not have 'workflow_dispatch' trigger")
    trigger = (triggers.get("workflow_dispatch") or {}) if isinstance(triggers, dict) else {}
    declared = trigger.get("inputs") or {}
    values = _checked(declared, inputs)
    title = INPUT.sub(lambda found: values.get(found[1], ""), str(definition.get("run-name", "")))
    title = title.strip() or str(definition.get("name", FOLDER + workflow))
    with state.store.transaction():
        sql = """
            INSERT INTO runs (repository, workflow, title, status, branch, sha, inputs, actor,
                              created_at, updated_at)
            VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)"""
        now, branch = state.now(), ref.removeprefix("refs/heads/")
        values_json = json.dumps(values)
        run = state.store.insert(sql, repository, workflow, title, branch, sha, values_json, actor, now, now)
        _emit(state, repository, run, "requested", actor)
    return run


def finish_run(state: State, repository: str, run: int, conclusion: str) -> None:
    """Ends a run, as its last job would."""
    if conclusion not in CONCLUSIONS:
        raise ApiError(422, f"{conclusion!r} is no conclusion: use one of {', '.join(CONCLUSIONS)}")
    row = run_row(state, repository, run)
    with state.store.transaction():
        sql = "UPDATE runs SET status = 'completed', conclusion = ?, updated_at = ? WHERE id = ?"
        state.store.run(sql, conclusion, state.now(), run)
        _emit(state, repository, run, "completed", row["actor"])


def run_row(state: State, repository: str, run: int) -> sqlite3.Row:
    """Raises ApiError 404 when there is none."""
    row = state.store.row("SELECT * FROM runs WHERE repository = ? AND id = ?", repository, run)
    if row is None:
        raise ApiError(404, "Not Found")
    return row


def run_shape(state: State, row: sqlite3.Row) -> dict[str, Any]:
    """A workflow run as REST and webhooks show it."""
    repository = row["repository"]
    return {
        "id": row["id"],
        "node_id": f"WFR_{row['id']}",
        "name": row["workflow"],
        "path": FOLDER + row["workflow"],
        "display_title": row["title"],
        "head_branch": row["branch"],
        "head_sha": row["sha"],
        "run_number": row["id"],
        "run_attempt": 1,
        "event": "workflow_dispatch",
        "status": row["status"],
        "conclusion": row["conclusion"],
        "workflow_id": stable_id("workflow", repository, row["workflow"]),
        "url": f"{state.url}/repos/{repository}/actions/runs/{row['id']}",
        "html_url": f"{state.url}/{repository}/actions/runs/{row['id']}",
        "pull_requests": [],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "run_started_at": row["created_at"],
        "actor": user_shape(state, row["actor"]),
        "triggering_actor": user_shape(state, row["actor"]),
        "repository": repository_shape(state, repository),
    }


def _emit(state: State, repository: str, run: int, action: str, actor: str) -> None:
    row = run_row(state, repository, run)
    payload = event_payload(state, repository, actor, action=action, workflow_run=run_shape(state, row))
    state.deliveries.add("workflow_run", payload, f"{repository}/runs/{run}")


def _definition(state: State, sha: str, workflow: str) -> dict[str, Any]:
    files = git_store.tree_files(state, git_store.commit_of(state, sha).tree)
    entry = files.get(FOLDER + workflow)
    if entry is None:
        raise ApiError(404, "Not Found")
    try:
        data = yaml.safe_load(git_store.get(state, "blob", entry[1]))
    except yaml.YAMLError as error:
        raise ApiError(422, f"{FOLDER}{workflow} is no YAML") from error
    if not isinstance(data, dict):
        raise ApiError(422, f"{FOLDER}{workflow} is no workflow")
    return data


def _checked(declared: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, str]:
    if len(inputs) > MAX_INPUTS:
        raise ApiError(422, f"you may only define up to {MAX_INPUTS} inputs")
    unknown = sorted(inputs.keys() - declared.keys())
    if unknown:
        raise ApiError(422, f"Unexpected inputs provided: {json.dumps(unknown)}")
    values = {}
    for name, rule in declared.items():
        rule = rule or {}
        if name in inputs:
            values[name] = str(inputs[name])
        elif rule.get("required") and rule.get("default") is None:
            raise ApiError(422, f"Required input '{name}' not provided")
        else:
            values[name] = str(rule.get("default") or "")
    return values
