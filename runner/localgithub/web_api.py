"""What the handlers share: reading a call, pages, GitHub's form of an answer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aiohttp import web

from runner.localgithub.people import Actor
from runner.localgithub.state import ApiError, State

STATE = web.AppKey("state", State)
ACTOR = web.RequestKey("actor", Actor)
DOCS = "https://docs.github.com/rest"
T = TypeVar("T")


def actor_of_call(request: web.Request) -> Actor:
    """Who calls."""
    return request[ACTOR]


def repository_of(request: web.Request) -> str:
    """The repository's name as it was made; ApiError 404 when the caller cannot see it."""
    state, actor = request.app[STATE], actor_of_call(request)
    wanted = f"{request.match_info['owner']}/{request.match_info['name']}"
    row = state.store.row("SELECT name FROM repositories WHERE name = ?", wanted)
    if row is None or (
        actor.owner is not None and actor.owner.lower() != request.match_info["owner"].lower()
    ):
        raise ApiError(404, "Not Found")
    return str(row["name"])


def number_of(request: web.Request) -> int:
    """The number in the path."""
    return int(request.match_info["number"])


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object of a call; an empty body is an empty object."""
    text = await request.read()
    try:
        data = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "Problems parsing JSON") from error
    if not isinstance(data, dict):
        raise ApiError(400, "Body should be a JSON object")
    return data


def text_of(data: dict[str, Any], key: str, *, required: bool = True, limit: int = 65_536) -> str:
    """A text that can be stored; ApiError 422 as GitHub words it."""
    value = data.get(key)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value.strip()):
        raise ApiError(422, "Validation Failed", {"resource": "", "code": "missing_field", "field": key})
    if len(value) > limit:
        message = f"{key} is too long (maximum is {limit} characters)"
        raise ApiError(422, "Validation Failed", {"code": "custom", "field": key, "message": message})
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def answer(data: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.json_response(data, status=status)


def refusal(error: ApiError) -> web.Response:
    """An error in GitHub's JSON shape."""
    data: dict[str, Any] = {"message": error.message}
    if error.errors:
        data["errors"] = list(error.errors)
    return answer({**data, "documentation_url": DOCS, "status": str(error.status)}, error.status)


def page(
    request: web.Request,
    rows: Sequence[sqlite3.Row],
    shape: Callable[[sqlite3.Row], object],
    wrap: Callable[[list[object]], object] = lambda items: items,
) -> web.Response:
    """One page of `rows`, with a Link header as GitHub's (rel next and last)."""
    try:
        size = min(max(int(request.query.get("per_page", "30")), 1), 100)
        current = max(int(request.query.get("page", "1")), 1)
    except ValueError as error:
        raise ApiError(422, "Validation Failed", {"code": "invalid", "field": "page"}) from error
    response = answer(wrap([shape(row) for row in rows[(current - 1) * size : current * size]]))
    last = max(1, -(-len(rows) // size))
    if current < last:
        base = request.app[STATE].url

        def link(number: int, rel: str) -> str:
            url = request.rel_url.update_query(page=str(number))
            return f'<{base}{url}>; rel="{rel}"'

        response.headers["Link"] = f"{link(current + 1, 'next')}, {link(last, 'last')}"
    return response
