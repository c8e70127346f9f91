"""REST: workflow dispatches and runs (docs.github.com/rest/actions)."""

from __future__ import annotations

from aiohttp import web

from runner.localgithub import actions
from runner.localgithub.people import require_write
from runner.localgithub.state import ApiError
from runner.localgithub.web_api import STATE, actor_of_call, answer, body_of, page, repository_of, text_of


async def _dispatch(request: web.Request) -> web.Response:
    state, repository, actor = request.app[STATE], repository_of(request), actor_of_call(request)
    require_write(state, repository, actor)
    data = await body_of(request)
    inputs = data.get("inputs") or {}
    if not isinstance(inputs, dict):
        raise ApiError(422, "Invalid inputs")
    workflow, ref = request.match_info["workflow"], text_of(data, "ref")
    actions.dispatch(state, repository, workflow, ref, inputs, actor.login)
    return web.Response(status=204)


async def _list_runs(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], repository_of(request)
    created = request.query.get("created", "")
    if created and not created.startswith(">="):
        raise ApiError(422, "the local GitHub knows only created=>=TIME")
    sql = "SELECT * FROM runs WHERE repository = ? AND workflow = ? AND created_at >= ? ORDER BY id DESC"
    rows = state.store.rows(sql, repository, request.match_info["workflow"], created.removeprefix(">="))

    def wrap(items: list[object]) -> object:
        return {"total_count": len(rows), "workflow_runs": items}

    return page(request, rows, lambda row: actions.run_shape(state, row), wrap)


async def _get_run(request: web.Request) -> web.Response:
    state, run = request.app[STATE], int(request.match_info["run"])
    return answer(actions.run_shape(state, actions.run_row(state, repository_of(request), run)))


ROOT = "/repos/{owner}/{name}/actions"
ROUTES = [
    web.post(ROOT + "/workflows/{workflow}/dispatches", _dispatch),
    web.get(ROOT + "/workflows/{workflow}/runs", _list_runs),
    web.get(ROOT + r"/runs/{run:\d{1,18}}", _get_run),
]
