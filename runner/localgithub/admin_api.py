"""What GitHub has no call for, under `/_local/`: faults, roles, the Revert button, the end of a run."""

from __future__ import annotations

from dataclasses import fields

from aiohttp import web

from errors import InputError
from runner.localgithub import actions, pulls
from runner.localgithub.faults import Fault
from runner.localgithub.people import grant, require_write
from runner.localgithub.state import ApiError
from runner.localgithub.web_api import (
    STATE,
    actor_of_call,
    answer,
    body_of,
    number_of,
    repository_of,
    text_of,
)

FIELDS = frozenset(field.name for field in fields(Fault))


async def _add_fault(request: web.Request) -> web.Response:
    """The fields of `Fault`, or {"lose_deliveries": N}, or {"double_deliveries": N}."""
    state, data = request.app[STATE], await body_of(request)
    deliveries = {key: data.pop(key) for key in ("lose_deliveries", "double_deliveries") if key in data}
    for key, count in deliveries.items():
        setattr(state.faults, key, int(count))
    if data:
        unknown = sorted(data.keys() - FIELDS)
        try:
            if unknown:
                raise InputError(f"fault field {unknown[0]!r} is unknown", f"use {', '.join(sorted(FIELDS))}")
            state.faults.add(Fault(**data))
        except (InputError, TypeError) as error:
            raise ApiError(422, str(error)) from error
    return answer({}, 201)


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[STATE].faults.clear()
    return web.Response(status=204)


async def _set_role(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], repository_of(request)
    require_write(state, repository, actor_of_call(request))
    grant(state, repository, request.match_info["login"], text_of(await body_of(request), "permission"))
    return web.Response(status=204)


async def _revert(request: web.Request) -> web.Response:
    state, repository, actor = request.app[STATE], repository_of(request), actor_of_call(request)
    require_write(state, repository, actor)
    number = pulls.revert_pull(state, repository, number_of(request), actor.login)
    return answer({"number": number}, 201)


async def _finish_run(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], repository_of(request)
    require_write(state, repository, actor_of_call(request))
    conclusion = text_of(await body_of(request), "conclusion")
    actions.finish_run(state, repository, int(request.match_info["run"]), conclusion)
    return web.Response(status=204)


ROOT = "/_local/repos/{owner}/{name}"
ROUTES = [
    web.post("/_local/faults", _add_fault),
    web.delete("/_local/faults", _clear_faults),
    web.put(ROOT + "/collaborators/{login}", _set_role),
    web.post(ROOT + r"/pulls/{number:\d{1,9}}/revert", _revert),
    web.post(ROOT + r"/actions/runs/{run:\d{1,18}}/finish", _finish_run),
]
