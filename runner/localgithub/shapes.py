"""Issues, comments, labels and pull requests in GitHub's JSON shapes (docs.github.com/rest and …/webhooks).

REST answers and webhook payloads carry the same objects. Fields that nobody here reads are left out, as are
most `_url` templates.
"""

from __future__ import annotations

import sqlite3
from typing import Any
from urllib.parse import quote

from runner.localgithub import git_store
from runner.localgithub.people import role_of, user_shape
from runner.localgithub.repositories import repository_shape
from runner.localgithub.state import ApiError, State, stable_id

ASSOCIATIONS = {"admin": "OWNER", "maintain": "MEMBER", "write": "COLLABORATOR", "triage": "COLLABORATOR"}


def issue_row(state: State, repository: str, number: int) -> sqlite3.Row:
    """Raises ApiError 404 when there is none."""
    row = state.store.row("SELECT * FROM issues WHERE repository = ? AND number = ?", repository, number)
    if row is None:
        raise ApiError(404, "Not Found")
    return row


def pull_row(state: State, issue: int) -> sqlite3.Row | None:
    """A pull request's own row; None when the issue is no pull request."""
    return state.store.row("SELECT * FROM pulls WHERE issue = ?", issue)


def labels_of(state: State, issue: int) -> list[str]:
    """Names in the order in which they were added."""
    rows = state.store.rows("SELECT name FROM issue_labels WHERE issue = ? ORDER BY rowid", issue)
    return [str(row["name"]) for row in rows]


def association(state: State, repository: str, login: str) -> str:
    """GitHub's `author_association`."""
    if repository.partition("/")[0].lower() == login.lower():
        return "OWNER"
    return ASSOCIATIONS.get(role_of(state, repository, login), "NONE")


def label_shape(state: State, repository: str, name: str) -> dict[str, Any]:
    """A label as REST and webhooks show it."""
    number = stable_id("label", repository, name)
    return {
        "id": number,
        "node_id": f"LA_{number}",
        "url": f"{state.url}/repos/{repository}/labels/{quote(name, safe='')}",
        "name": name,
        "color": "ededed",
        "default": False,
        "description": None,
    }


def issue_shape(state: State, row: sqlite3.Row) -> dict[str, Any]:
    """An issue as REST and webhooks show it."""
    repository, number = row["repository"], row["number"]
    api, page = f"{state.url}/repos/{repository}", f"{state.url}/{repository}"
    count = state.store.row("SELECT count(*) FROM comments WHERE issue = ?", row["id"])
    shape = {
        "url": f"{api}/issues/{number}",
        "repository_url": api,
        "labels_url": f"{api}/issues/{number}/labels{{/name}}",
        "comments_url": f"{api}/issues/{number}/comments",
        "events_url": f"{api}/issues/{number}/events",
        "html_url": f"{page}/issues/{number}",
        "id": row["id"],
        "node_id": f"I_{row['id']}",
        "number": number,
        "title": row["title"],
        "user": user_shape(state, row["author"]),
        "labels": [label_shape(state, repository, name) for name in labels_of(state, row["id"])],
        "state": row["state"],
        "locked": False,
        "assignee": None,
        "assignees": [],
        "milestone": None,
        "comments": count[0] if count else 0,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "closed_at": row["closed_at"],
        "closed_by": user_shape(state, row["closed_by"]) if row["closed_by"] else None,
        "author_association": association(state, repository, row["author"]),
        "active_lock_reason": None,
        "body": row["body"],
        "state_reason": row["state_reason"],
    }
    pull = pull_row(state, row["id"])
    if pull is not None:
        shape["html_url"] = f"{page}/pull/{number}"
        urls = {"url": f"{api}/pulls/{number}", "html_url": shape["html_url"]}
        shape["pull_request"] = {**urls, "merged_at": pull["merged_at"]}
    return shape


def comment_shape(state: State, repository: str, number: int, row: sqlite3.Row) -> dict[str, Any]:
    """A comment as REST and webhooks show it."""
    api = f"{state.url}/repos/{repository}/issues"
    return {
        "url": f"{api}/comments/{row['id']}",
        "html_url": f"{state.url}/{repository}/issues/{number}#issuecomment-{row['id']}",
        "issue_url": f"{api}/{number}",
        "id": row["id"],
        "node_id": f"IC_{row['id']}",
        "user": user_shape(state, row["author"]),
        "created_at": row["created_at"],
        "updated_at": row["created_at"],
        "author_association": association(state, repository, row["author"]),
        "body": row["body"],
    }


def event_shape(state: State, repository: str, row: sqlite3.Row) -> dict[str, Any]:
    """An entry of an issue's events."""
    shape = {
        "id": row["id"],
        "node_id": f"IE_{row['id']}",
        "url": f"{state.url}/repos/{repository}/issues/events/{row['id']}",
        "actor": user_shape(state, row["actor"]),
        "event": row["event"],
        "commit_id": None,
        "commit_url": None,
        "created_at": row["created_at"],
    }
    return {**shape, "label": {"name": row["label"], "color": "ededed"}} if row["label"] else shape


def pull_shape(state: State, row: sqlite3.Row, pull: sqlite3.Row) -> dict[str, Any]:
    """A pull request as REST and webhooks show it."""
    repository, number = row["repository"], row["number"]
    api, page = f"{state.url}/repos/{repository}", f"{state.url}/{repository}/pull/{number}"
    head = git_store.branch_sha(state, repository, pull["head"]) if row["state"] == "open" else None
    merged = pull["merged_at"] is not None
    return {
        "url": f"{api}/pulls/{number}",
        "id": stable_id("pull", repository, number),
        "node_id": f"PR_{row['id']}",
        "html_url": page,
        "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch",
        "issue_url": f"{api}/issues/{number}",
        "comments_url": f"{api}/issues/{number}/comments",
        "number": number,
        "state": row["state"],
        "locked": False,
        "title": row["title"],
        "user": user_shape(state, row["author"]),
        "body": row["body"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "closed_at": row["closed_at"],
        "merged_at": pull["merged_at"],
        "merge_commit_sha": pull["merge_sha"],
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "labels": [label_shape(state, repository, name) for name in labels_of(state, row["id"])],
        "milestone": None,
        "draft": False,
        "head": _side(state, repository, pull["head"], head or pull["head_sha"]),
        "base": _side(state, repository, pull["base"], pull["base_sha"]),
        "author_association": association(state, repository, row["author"]),
        "merged": merged,
        "mergeable": None,
        "merged_by": user_shape(state, pull["merged_by"]) if merged else None,
    }


def _side(state: State, repository: str, branch: str, sha: str) -> dict[str, Any]:
    owner = repository.partition("/")[0]
    return {
        "label": f"{owner}:{branch}",
        "ref": branch,
        "sha": sha,
        "user": user_shape(state, owner),
        "repo": repository_shape(state, repository),
    }
