"""Puts what a file holds into the state. What is there already stays as it is, and is not delivered again."""

from __future__ import annotations

import asyncio
from typing import Any

from runner.issue import Issue
from runner.localgithub.issues import add_issue, emit_opened, store_event, store_label, told
from runner.localgithub.load import Loaded, LoadedDelivery, LoadedIssue
from runner.localgithub.people import ensure_user, grant
from runner.localgithub.repositories import ensure_repository, event_payload
from runner.localgithub.state import State


async def apply_loaded(state: State, loaded: Loaded) -> int:
    """Gives the number of issues and deliveries that were new."""
    new = 0
    for issue in loaded.issues:
        new += _apply_issue(state, issue)
        await asyncio.sleep(0)  # a large file must not stop the server
    for delivery in loaded.deliveries:
        new += _apply_delivery(state, delivery)
        await asyncio.sleep(0)
    return new


def _apply_issue(state: State, loaded: LoadedIssue) -> bool:
    issue = loaded.issue
    with state.store.transaction():
        ensure_repository(state, issue.repository)
        if not _store(state, issue, loaded.created_at):
            return False
        if issue.state == "open":
            emit_opened(state, issue.repository, issue.number, issue.author, loaded=True)
    told(state.on_issue, issue.repository, issue.number, issue.author)
    return True


def _apply_delivery(state: State, loaded: LoadedDelivery) -> bool:
    if state.deliveries.knows(loaded.key):
        return False
    payload, issue = loaded.payload, loaded.issue
    sender = _login(payload.get("sender"))
    with state.store.transaction():
        ensure_repository(state, loaded.repository)
        line = loaded.repository
        is_new = issue is not None and _store(state, issue, None)
        if issue is not None:
            line = f"{issue.repository}#{issue.number}"
            sender = sender or issue.author
            _follow(state, issue, payload, sender)
        full = {**event_payload(state, loaded.repository, sender or state.settings.default_author), **payload}
        state.deliveries.add(loaded.event, full, line, guid=loaded.guid, load_key=loaded.key)
    if issue is not None and is_new:
        told(state.on_issue, issue.repository, issue.number, issue.author)
    return True


def _store(state: State, issue: Issue, created_at: str | None) -> bool:
    """False when the issue is there already."""
    author = issue.author or state.settings.default_author
    if state.settings.authors_may_write and not issue.author_is_bot:
        grant(state, issue.repository, author, "write")
    sql = "SELECT 1 FROM issues WHERE repository = ? AND number = ?"
    if state.store.row(sql, issue.repository, issue.number):
        return False
    number = issue.number
    row = add_issue(
        state, issue.repository, issue.title, issue.body or None, author, number=number, created_at=created_at
    )
    for label in issue.labels:
        store_label(state, row["id"], label, author)
    if issue.state != "open":
        sql = "UPDATE issues SET state = 'closed', state_reason = 'completed', closed_at = ? WHERE id = ?"
        state.store.run(sql, state.now(), row["id"])
    return True


def _follow(state: State, issue: Issue, payload: dict[str, Any], sender: str) -> None:
    """Brings a stored issue to what a later delivery of the file says of it."""
    row = state.store.rows(
        "SELECT id FROM issues WHERE repository = ? AND number = ?", issue.repository, issue.number
    )[0]
    sql = "UPDATE issues SET title = ?, body = ?, state = ?, state_reason = ? WHERE id = ?"
    reason = (payload.get("issue") or {}).get("state_reason")
    reason = reason if isinstance(reason, str) else None
    state.store.run(sql, issue.title, issue.body or None, issue.state, reason, row["id"])
    state.store.run("DELETE FROM issue_labels WHERE issue = ?", row["id"])
    for label in issue.labels:
        sql = "INSERT OR IGNORE INTO issue_labels (issue, name) VALUES (?, ?)"
        state.store.run(sql, row["id"], label)
    label_name = (payload.get("label") or {}).get("name") if isinstance(payload.get("label"), dict) else None
    at = (payload.get("issue") or {}).get("updated_at")
    if payload.get("action") in ("labeled", "unlabeled") and isinstance(label_name, str):
        store_event(
            state, row["id"], str(payload["action"]), sender, label_name, at if isinstance(at, str) else None
        )
    comment = payload.get("comment")
    if payload.get("action") == "created" and isinstance(comment, dict):
        author = _login(comment.get("user")) or sender
        ensure_user(state, author)
        sql = "INSERT INTO comments (issue, author, body, created_at) VALUES (?, ?, ?, ?)"
        state.store.insert(sql, row["id"], author, str(comment.get("body") or ""), state.now())


def _login(user: object) -> str:
    return str(user.get("login") or "") if isinstance(user, dict) else ""
