"""REST: who am I, App installations and their tokens, webhook deliveries (docs.github.com/rest/apps)."""

from __future__ import annotations

import sqlite3
from typing import Any

from aiohttp import web

from runner.localgithub.deliveries import HOOK_ID
from runner.localgithub.people import Actor, new_token, require_write, user_shape
from runner.localgithub.repositories import installation_id
from runner.localgithub.state import ApiError, State, timestamp
from runner.localgithub.web_api import STATE, actor_of_call, answer, page, repository_of

TOKEN_SECONDS = 3600
PERMISSIONS = {"issues": "write", "pull_requests": "write", "contents": "write", "actions": "write"}


async def _get_user(request: web.Request) -> web.Response:
    actor = actor_of_call(request)
    if actor.is_app or actor.owner is not None:
        raise ApiError(403, "Resource not accessible by integration")
    return answer(user_shape(request.app[STATE], actor.login))


async def _get_app(request: web.Request) -> web.Response:
    state = request.app[STATE]
    _require_app(request)
    slug = state.settings.bot.removesuffix("[bot]")
    app_id = state.settings.app_id
    number = int(app_id) if app_id.isdecimal() else 0
    page_url = f"{state.url}/apps/{slug}"
    return answer(
        {"id": number, "slug": slug, "name": slug, "html_url": page_url, "permissions": PERMISSIONS}
    )


async def _get_installation(request: web.Request) -> web.Response:
    _require_app(request)
    repository = repository_of(request)
    return answer(_installation(request.app[STATE], repository.partition("/")[0]))


async def _create_token(request: web.Request) -> web.Response:
    state = request.app[STATE]
    _require_app(request)
    wanted = int(request.match_info["installation"])
    owners = {row["name"].partition("/")[0] for row in state.store.rows("SELECT name FROM repositories")}
    owner = next((owner for owner in sorted(owners) if installation_id(owner) == wanted), None)
    if owner is None:
        raise ApiError(404, "Not Found")
    expires = state.settings.clock() + TOKEN_SECONDS
    token = new_token(state, state.settings.bot, owner=owner, expires=expires, prefix="ghs_")
    shape = {"token": token, "expires_at": timestamp(expires), "permissions": PERMISSIONS}
    return answer({**shape, "repository_selection": "all"}, 201)


async def _list_deliveries(request: web.Request) -> web.Response:
    state = request.app[STATE]
    _require_hook(request)
    rows = state.store.rows("SELECT * FROM deliveries WHERE status IS NOT NULL ORDER BY id DESC")
    return page(request, rows, _delivery)


async def _redeliver(request: web.Request) -> web.Response:
    _require_hook(request)
    if not request.app[STATE].deliveries.redeliver(int(request.match_info["delivery"])):
        raise ApiError(404, "Not Found")
    return answer({}, 202)


def _delivery(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "guid": row["guid"],
        "delivered_at": row["delivered_at"],
        "redelivery": bool(row["redelivery"]),
        "duration": row["duration"],
        "status": row["status"],
        "status_code": row["status_code"],
        "event": row["event"],
        "action": row["action"],
        "installation_id": None,
        "repository_id": None,
        "throttled_at": None,
    }


def _installation(state: State, owner: str) -> dict[str, Any]:
    number = installation_id(owner)
    return {
        "id": number,
        "account": user_shape(state, owner),
        "repository_selection": "all",
        "access_tokens_url": f"{state.url}/app/installations/{number}/access_tokens",
        "app_slug": state.settings.bot.removesuffix("[bot]"),
        "permissions": PERMISSIONS,
        "suspended_at": None,
    }


def _require_app(request: web.Request) -> Actor:
    actor = actor_of_call(request)
    if not actor.is_app:
        raise ApiError(401, "A JSON web token could not be decoded")
    return actor


def _require_hook(request: web.Request) -> None:
    if "owner" in request.match_info:
        require_write(request.app[STATE], repository_of(request), actor_of_call(request))
    else:
        _require_app(request)


REPOSITORY = "/repos/{owner}/{name}"
REPOSITORY_HOOK = f"{REPOSITORY}/hooks/{HOOK_ID}/deliveries"
ATTEMPTS = r"/{delivery:\d{1,18}}/attempts"
ROUTES = [
    web.get("/user", _get_user),
    web.get("/app", _get_app),
    web.get(REPOSITORY + "/installation", _get_installation),
    web.post(r"/app/installations/{installation:\d{1,18}}/access_tokens", _create_token),
    web.get("/app/hook/deliveries", _list_deliveries),
    web.post("/app/hook/deliveries" + ATTEMPTS, _redeliver),
    web.get(REPOSITORY_HOOK, _list_deliveries),
    web.post(REPOSITORY_HOOK + ATTEMPTS, _redeliver),
]
