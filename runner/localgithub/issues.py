"""Issues, comments and labels: what happens to them, and the webhooks that tell of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from uuid import NAMESPACE_URL, uuid5

from runner.localgithub.people import ensure_user
from runner.localgithub.repositories import event_payload
from runner.localgithub.shapes import (
    comment_shape,
    issue_row,
    issue_shape,
    label_shape,
    labels_of,
    pull_row,
    pull_shape,
)
from runner.localgithub.state import ApiError, State, stable_id

CLOSE_REASONS = ("completed", "not_planned", "duplicate")


def add_issue(
    state: State,
    repository: str,
    title: str,
    body: str | None,
    author: str,
    *,
    number: int | None = None,
    created_at: str | None = None,
) -> sqlite3.Row:
    """Stores an issue (or the issue that every pull request is) and tells nobody."""
    ensure_user(state, author)
    if number is None:
        sql = "SELECT coalesce(max(number), 0) + 1 FROM issues WHERE repository = ?"
        row = state.store.row(sql, repository)
        number = row[0] if row else 1
    at = created_at or state.now()
    sql = """
        INSERT INTO issues (id, repository, number, title, body, author, state, created_at, updated_at)
        VALUES (?, ?, ?, ?, ?, ?, 'open', ?, ?)"""
    key = stable_id("issue", repository, number)
    state.store.run(sql, key, repository, number, title, body, author, at, at)
    return issue_row(state, repository, number)


def open_issue(
    state: State, repository: str, title: str, body: str | None, labels: Sequence[str], author: str
) -> int:
    """As a person does on the page: `opened`, then `labeled` for each label. Gives the number."""
    with state.store.transaction():
        row = add_issue(state, repository, title, body, author)
        for label in labels:
            store_label(state, row["id"], label, author)
        emit_opened(state, repository, row["number"], author)
    told(state.on_issue, repository, row["number"], author)
    return int(row["number"])


def emit_opened(state: State, repository: str, number: int, author: str, *, loaded: bool = False) -> None:
    """`opened`, then `labeled` for each label: what GitHub sends for an issue that is opened with labels."""
    emit(state, repository, number, "opened", author, loaded=loaded)
    for label in labels_of(state, issue_row(state, repository, number)["id"]):
        emit(state, repository, number, "labeled", author, label=label, loaded=loaded)


def emit(
    state: State,
    repository: str,
    number: int,
    action: str,
    actor: str,
    *,
    label: str | None = None,
    loaded: bool = False,
) -> None:
    """Tells of an issue or a pull request as it now is.

    What a file brings (`loaded`) has the same guid in every process and is delivered once.
    """
    row = issue_row(state, repository, number)
    pull = pull_row(state, row["id"])
    fields: dict[str, object] = {"action": action}
    if pull is None:
        event, fields["issue"] = "issues", issue_shape(state, row)
    else:
        event, fields["number"], fields["pull_request"] = "pull_request", number, pull_shape(state, row, pull)
    if label is not None:
        fields["label"] = label_shape(state, repository, label)
    guid = (
        str(uuid5(NAMESPACE_URL, f"{repository}#{number}/{event}/{action}/{label or ''}")) if loaded else None
    )
    payload = event_payload(state, repository, actor, **fields)
    state.deliveries.add(event, payload, f"{repository}#{number}", guid=guid, load_key=guid)


def edit_issue(state: State, repository: str, number: int, title: str, body: str, actor: str) -> None:
    """Changes title and body."""
    row = issue_row(state, repository, number)
    with state.store.transaction():
        sql = "UPDATE issues SET title = ?, body = ?, updated_at = ? WHERE id = ?"
        state.store.run(sql, title, body, state.now(), row["id"])
        emit(state, repository, number, "edited", actor)


def set_state(state: State, repository: str, number: int, new: str, reason: str | None, actor: str) -> None:
    """Closes (`reason` completed, not_planned or duplicate) or reopens; nothing where it is so already."""
    row = issue_row(state, repository, number)
    if row["state"] == new:
        return
    closed = new == "closed"
    reason = (reason or "completed") if closed else "reopened"
    with state.store.transaction():
        sql = """
            UPDATE issues SET state = ?, state_reason = ?, closed_at = ?, closed_by = ?, updated_at = ?
            WHERE id = ?"""
        now = state.now()
        closer = actor if closed else None
        state.store.run(sql, new, reason, now if closed else None, closer, now, row["id"])
        store_event(state, row["id"], "closed" if closed else "reopened", actor)
        emit(state, repository, number, "closed" if closed else "reopened", actor)


def add_labels(state: State, repository: str, number: int, labels: Sequence[str], actor: str) -> None:
    """Adds labels that the issue lacks."""
    row = issue_row(state, repository, number)
    with state.store.transaction():
        for label in labels:
            if store_label(state, row["id"], label, actor):
                emit(state, repository, number, "labeled", actor, label=label)


def remove_label(state: State, repository: str, number: int, label: str, actor: str) -> None:
    """Removes a label; ApiError 404 when the issue lacks it."""
    row = issue_row(state, repository, number)
    with state.store.transaction():
        if not state.store.run("DELETE FROM issue_labels WHERE issue = ? AND name = ?", row["id"], label):
            raise ApiError(404, "Label does not exist")
        store_event(state, row["id"], "unlabeled", actor, label)
        emit(state, repository, number, "unlabeled", actor, label=label)


def add_comment(state: State, repository: str, number: int, body: str, author: str) -> sqlite3.Row:
    """Adds a comment and gives its row."""
    row = issue_row(state, repository, number)
    ensure_user(state, author)
    with state.store.transaction():
        sql = "INSERT INTO comments (issue, author, body, created_at) VALUES (?, ?, ?, ?)"
        key = state.store.insert(sql, row["id"], author, body, state.now())
        state.store.run("UPDATE issues SET updated_at = ? WHERE id = ?", state.now(), row["id"])
        comment = state.store.rows("SELECT * FROM comments WHERE id = ?", key)[0]
        payload = event_payload(
            state,
            repository,
            author,
            action="created",
            issue=issue_shape(state, issue_row(state, repository, number)),
            comment=comment_shape(state, repository, number, comment),
        )
        state.deliveries.add("issue_comment", payload, f"{repository}#{number}")
    told(state.on_comment, repository, number, author)
    return comment


def store_label(state: State, issue: int, label: str, actor: str) -> bool:
    """False when the issue carries it already."""
    if not state.store.run("INSERT OR IGNORE INTO issue_labels (issue, name) VALUES (?, ?)", issue, label):
        return False
    store_event(state, issue, "labeled", actor, label)
    return True


def store_event(
    state: State, issue: int, event: str, actor: str, label: str | None = None, at: str | None = None
) -> None:
    """Notes who did what to an issue."""
    sql = "INSERT INTO events (issue, event, actor, label, created_at) VALUES (?, ?, ?, ?, ?)"
    state.store.run(sql, issue, event, actor, label, at or state.now())
    state.store.run("UPDATE issues SET updated_at = ? WHERE id = ?", state.now(), issue)


def told(
    listeners: Sequence[Callable[[str, int, str], None]], repository: str, number: int, actor: str
) -> None:
    """Tells the listeners."""
    for listener in listeners:
        listener(repository, number, actor)
