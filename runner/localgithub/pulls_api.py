"""REST: pull requests (docs.github.com/rest/pulls)."""

from __future__ import annotations

from aiohttp import web

from runner.localgithub import issues, pulls
from runner.localgithub.people import require_write
from runner.localgithub.shapes import pull_shape
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


async def _list_pulls(request: web.Request) -> web.Response:
    state, repository, query = request.app[STATE], repository_of(request), request.query
    owner, _, branch = query.get("head", "").rpartition(":")
    if owner and owner.lower() != request.match_info["owner"].lower():
        return answer([])
    sql = """
        SELECT issues.* FROM pulls JOIN issues ON issues.id = pulls.issue
        WHERE repository = ? AND (? = 'all' OR state = ?) AND (? = '' OR head = ?) AND (? = '' OR base = ?)
        ORDER BY number DESC"""
    wanted, base = query.get("state", "open"), query.get("base", "")
    rows = state.store.rows(sql, repository, wanted, wanted, branch, branch, base, base)
    return page(
        request,
        rows,
        lambda row: _listed(pull_shape(state, *pulls.pull_of(state, repository, row["number"]))),
    )


def _listed(shape: dict[str, object]) -> dict[str, object]:
    # A list of pull requests lacks what GitHub computes for a single one.
    return {key: value for key, value in shape.items() if key not in ("merged", "mergeable", "merged_by")}


async def _create_pull(request: web.Request) -> web.Response:
    state, repository, actor = request.app[STATE], repository_of(request), actor_of_call(request)
    require_write(state, repository, actor)
    data = await body_of(request)
    title, body = text_of(data, "title", limit=256), text_of(data, "body", required=False)
    head, base = text_of(data, "head").rpartition(":")[2], text_of(data, "base")
    number = pulls.open_pull(state, repository, title, body or None, head, base, actor.login)
    return answer(pull_shape(state, *pulls.pull_of(state, repository, number)), 201)


async def _get_pull(request: web.Request) -> web.Response:
    state = request.app[STATE]
    return answer(pull_shape(state, *pulls.pull_of(state, repository_of(request), number_of(request))))


async def _update_pull(request: web.Request) -> web.Response:
    state, repository, number = request.app[STATE], repository_of(request), number_of(request)
    actor = actor_of_call(request)
    require_write(state, repository, actor)
    row, pull = pulls.pull_of(state, repository, number)
    new = (await body_of(request)).get("state", row["state"])
    if new not in ("open", "closed") or (new == "open" and pull["merged_at"]):
        raise ApiError(
            422, "Validation Failed", {"resource": "PullRequest", "field": "state", "code": "invalid"}
        )
    issues.set_state(state, repository, number, new, None, actor.login)
    return await _get_pull(request)


async def _merge_pull(request: web.Request) -> web.Response:
    state, repository, actor = request.app[STATE], repository_of(request), actor_of_call(request)
    require_write(state, repository, actor)
    sha = pulls.merge_pull(state, repository, number_of(request), actor.login)
    return answer({"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


async def _is_merged(request: web.Request) -> web.Response:
    _, pull = pulls.pull_of(request.app[STATE], repository_of(request), number_of(request))
    return web.Response(status=404 if pull["merged_at"] is None else 204)


ROOT = "/repos/{owner}/{name}/pulls"
PULL = ROOT + r"/{number:\d{1,9}}"
ROUTES = [
    web.get(ROOT, _list_pulls),
    web.post(ROOT, _create_pull),
    web.get(PULL, _get_pull),
    web.patch(PULL, _update_pull),
    web.get(PULL + "/merge", _is_merged),
    web.put(PULL + "/merge", _merge_pull),
]
