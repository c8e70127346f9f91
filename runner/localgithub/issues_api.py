"""REST: issues, comments, labels, events and permissions (docs.github.com/rest/issues, …/collaborators)."""

from __future__ import annotations

import sqlite3

from aiohttp import web

from runner.localgithub import issues
from runner.localgithub.people import LEGACY, may_write, require_write, role_of, user_shape, user_type
from runner.localgithub.repositories import repository_shape
from runner.localgithub.shapes import (
    comment_shape,
    event_shape,
    issue_row,
    issue_shape,
    label_shape,
    labels_of,
)
from runner.localgithub.state import ApiError
from runner.localgithub.web_api import (
    STATE,
    actor_of_call,
    answer,
    body_of,
    number_of,
    page,
    repository_of,
    text_of,
)

MAX_TITLE = 256


async def _get_repository(request: web.Request) -> web.Response:
    return answer(repository_shape(request.app[STATE], repository_of(request)))


async def _get_permission(request: web.Request) -> web.Response:
    state, repository, login = request.app[STATE], repository_of(request), request.match_info["login"]
    kind = user_type(state, login)
    if kind != "User":
        raise ApiError(404, "Not Found" if kind is None else f"{login} is not a user")
    role = role_of(state, repository, login)
    shape = {"permission": LEGACY.get(role, "none"), "role_name": role, "user": user_shape(state, login)}
    return answer(shape)


async def _list_issues(request: web.Request) -> web.Response:
    state, repository, query = request.app[STATE], repository_of(request), request.query
    sql = """
        SELECT * FROM issues
        WHERE repository = ? AND (? = 'all' OR state = ?) AND updated_at >= ?
        ORDER BY number"""
    wanted = query.get("state", "open")
    rows = state.store.rows(sql, repository, wanted, wanted, query.get("since", ""))
    if query.get("direction", "desc") == "desc":
        rows.reverse()
    return page(request, rows, lambda row: issue_shape(state, row))


async def _create_issue(request: web.Request) -> web.Response:
    state, repository, actor = request.app[STATE], repository_of(request), actor_of_call(request)
    data = await body_of(request)
    title = text_of(data, "title", limit=MAX_TITLE)
    body = text_of(data, "body", required=False)
    # GitHub drops labels silently where the author may not write.
    labels = _names(data.get("labels", [])) if may_write(state, repository, actor.login) else []
    number = issues.open_issue(state, repository, title, body or None, labels, actor.login)
    return answer(issue_shape(state, issue_row(state, repository, number)), 201)


async def _get_issue(request: web.Request) -> web.Response:
    state = request.app[STATE]
    return answer(issue_shape(state, issue_row(state, repository_of(request), number_of(request))))


async def _update_issue(request: web.Request) -> web.Response:
    state, repository, number = request.app[STATE], repository_of(request), number_of(request)
    actor = actor_of_call(request)
    row = issue_row(state, repository, number)
    if row["author"].lower() != actor.login.lower():
        require_write(state, repository, actor)
    data = await body_of(request)
    if "title" in data or "body" in data:
        merged = {"title": row["title"], "body": row["body"], **data}
        title = text_of(merged, "title", limit=MAX_TITLE)
        issues.edit_issue(
            state, repository, number, title, text_of(merged, "body", required=False), actor.login
        )
    if "state" in data:
        reason = data.get("state_reason")
        if data["state"] not in ("open", "closed") or reason not in (None, "reopened", *issues.CLOSE_REASONS):
            raise ApiError(422, "Validation Failed", {"code": "invalid", "field": "state"})
        issues.set_state(state, repository, number, data["state"], reason, actor.login)
    return answer(issue_shape(state, issue_row(state, repository, number)))


async def _list_comments(request: web.Request) -> web.Response:
    state, repository, number = request.app[STATE], repository_of(request), number_of(request)
    issue = issue_row(state, repository, number)
    sql = "SELECT * FROM comments WHERE issue = ? AND created_at >= ? ORDER BY id"
    rows = state.store.rows(sql, issue["id"], request.query.get("since", ""))
    return page(request, rows, lambda row: comment_shape(state, repository, number, row))


async def _create_comment(request: web.Request) -> web.Response:
    state, repository, number = request.app[STATE], repository_of(request), number_of(request)
    issue_row(state, repository, number)
    body = text_of(await body_of(request), "body")
    comment = issues.add_comment(state, repository, number, body, actor_of_call(request).login)
    return answer(comment_shape(state, repository, number, comment), 201)


async def _list_labels(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], repository_of(request)
    names = labels_of(state, issue_row(state, repository, number_of(request))["id"])
    return answer([label_shape(state, repository, name) for name in names])


async def _add_labels(request: web.Request) -> web.Response:
    state, repository, actor = request.app[STATE], repository_of(request), actor_of_call(request)
    require_write(state, repository, actor)
    names = _names((await body_of(request)).get("labels"))
    issues.add_labels(state, repository, number_of(request), names, actor.login)
    return await _list_labels(request)


async def _remove_label(request: web.Request) -> web.Response:
    state, repository, actor = request.app[STATE], repository_of(request), actor_of_call(request)
    require_write(state, repository, actor)
    issues.remove_label(state, repository, number_of(request), request.match_info["label"], actor.login)
    return await _list_labels(request)


async def _list_repository_events(request: web.Request) -> web.Response:
    """Newest first, each with its issue or pull request as that is now."""
    state, repository = request.app[STATE], repository_of(request)
    sql = """
        SELECT events.*, issues.number FROM events JOIN issues ON issues.id = events.issue
        WHERE repository = ? ORDER BY events.id DESC"""
    rows = state.store.rows(sql, repository)

    def shape(row: sqlite3.Row) -> object:
        issue = issue_shape(state, issue_row(state, repository, row["number"]))
        return {**event_shape(state, repository, row), "issue": issue}

    return page(request, rows, shape)


async def _list_events(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], repository_of(request)
    issue = issue_row(state, repository, number_of(request))
    rows = state.store.rows("SELECT * FROM events WHERE issue = ? ORDER BY id", issue["id"])
    return page(request, rows, lambda row: event_shape(state, repository, row))


def _names(value: object) -> list[str]:
    items = (
        [item.get("name") if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else [0]
    )
    names = [item.strip() for item in items if isinstance(item, str) and 0 < len(item.strip()) <= 50]
    if len(names) != len(items):
        raise ApiError(422, "Validation Failed", {"resource": "Label", "code": "invalid", "field": "name"})
    return names


REPOSITORY = "/repos/{owner}/{name}"
ISSUE = REPOSITORY + r"/issues/{number:\d{1,9}}"
ROUTES = [
    web.get(REPOSITORY, _get_repository),
    web.get(REPOSITORY + "/collaborators/{login}/permission", _get_permission),
    web.get(REPOSITORY + "/issues", _list_issues),
    web.post(REPOSITORY + "/issues", _create_issue),
    web.get(REPOSITORY + "/issues/events", _list_repository_events),
    web.get(ISSUE, _get_issue),
    web.patch(ISSUE, _update_issue),
    web.get(ISSUE + "/comments", _list_comments),
    web.post(ISSUE + "/comments", _create_comment),
    web.get(ISSUE + "/labels", _list_labels),
    web.post(ISSUE + "/labels", _add_labels),
    web.delete(ISSUE + "/labels/{label}", _remove_label),
    web.get(ISSUE + "/events", _list_events),
]
