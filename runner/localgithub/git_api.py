"""REST: branches, commits, trees, blobs and tarballs (docs.github.com/rest/git)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

from aiohttp import web

from runner.localgithub import git_store
from runner.localgithub.people import require_write
from runner.localgithub.pulls import push
from runner.localgithub.repositories import default_branch
from runner.localgithub.state import ApiError, State
from runner.localgithub.web_api import STATE, actor_of_call, answer, body_of, repository_of, text_of

MODES = frozenset({"100644", "100755", "120000"})
MAX_MESSAGE = 65_536


async def _get_ref(request: web.Request) -> web.Response:
    state, repository, branch = request.app[STATE], repository_of(request), request.match_info["branch"]
    sha = git_store.branch_sha(state, repository, branch)
    if sha is None:
        raise ApiError(404, "Not Found")
    return answer(_ref(state, repository, branch, sha))


async def _create_ref(request: web.Request) -> web.Response:
    state, repository = _writable(request)
    data = await body_of(request)
    ref, sha = text_of(data, "ref"), text_of(data, "sha")
    branch = ref.removeprefix("refs/heads/")
    if branch == ref or not _is_path(branch):
        raise ApiError(422, f"{ref} is not a valid ref name.")
    if git_store.branch_sha(state, repository, branch) is not None:
        raise ApiError(422, "Reference already exists")
    _require_commit(state, sha)
    with state.store.transaction():
        push(state, repository, branch, sha, actor_of_call(request).login, f"{repository}@{branch}")
    return answer(_ref(state, repository, branch, sha), 201)


async def _update_ref(request: web.Request) -> web.Response:
    state, repository = _writable(request)
    branch, data = request.match_info["branch"], await body_of(request)
    old, sha = git_store.branch_sha(state, repository, branch), text_of(data, "sha")
    if old is None:
        raise ApiError(422, "Reference does not exist")
    _require_commit(state, sha)
    if data.get("force") is not True and all(old != known for known, _ in git_store.history(state, sha)):
        raise ApiError(422, "Update is not a fast forward")
    with state.store.transaction():
        push(state, repository, branch, sha, actor_of_call(request).login, f"{repository}@{branch}")
    return answer(_ref(state, repository, branch, sha))


async def _delete_ref(request: web.Request) -> web.Response:
    state, repository = _writable(request)
    sql = "DELETE FROM refs WHERE repository = ? AND name = ?"
    if not state.store.run(sql, repository, f"refs/heads/{request.match_info['branch']}"):
        raise ApiError(422, "Reference does not exist")
    return web.Response(status=204)


async def _create_blob(request: web.Request) -> web.Response:
    state, repository = _writable(request)
    data = await body_of(request)
    content = text_of(data, "content", required=False, limit=100 * 1024 * 1024)
    try:
        raw = base64.b64decode(content) if data.get("encoding") == "base64" else content.encode()
    except binascii.Error as error:
        raise ApiError(422, "content is not valid Base64") from error
    sha = git_store.put(state, "blob", raw)
    return answer({"sha": sha, "url": f"{_git(state, repository)}/blobs/{sha}"}, 201)


async def _get_blob(request: web.Request) -> web.Response:
    state, sha = request.app[STATE], request.match_info["sha"]
    data = git_store.get(state, "blob", sha)
    content = base64.encodebytes(data).decode()
    url = f"{_git(state, repository_of(request))}/blobs/{sha}"
    return answer({"sha": sha, "url": url, "size": len(data), "encoding": "base64", "content": content})


async def _create_tree(request: web.Request) -> web.Response:
    state, repository = _writable(request)
    data = await body_of(request)
    files = git_store.tree_files(state, data["base_tree"]) if data.get("base_tree") else {}
    entries = data.get("tree")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ApiError(422, "Invalid tree info")
    for entry in entries:
        _apply(state, files, entry)
    sha = git_store.write_tree(state, files)
    return answer(_tree(state, repository, sha), 201)


def _apply(state: State, files: git_store.Files, entry: dict[str, Any]) -> None:
    path, mode = str(entry.get("path", "")), str(entry.get("mode", ""))
    if not _is_path(path):
        raise ApiError(422, "tree.path contains a malformed path component")
    if mode not in MODES:
        raise ApiError(422, "Must supply a valid tree.mode")
    if "content" in entry:
        files[path] = (mode, git_store.put(state, "blob", str(entry["content"]).encode()))
    elif entry.get("sha") is None:
        if path not in files:
            raise ApiError(422, "GitRPC::BadObjectState")
        del files[path]
    else:
        git_store.get(state, "blob", str(entry["sha"]))
        files[path] = (mode, str(entry["sha"]))
    # A file takes the place of a folder of its name, and the other way round.
    if path in files:
        parents = {path[:at] for at, character in enumerate(path) if character == "/"}
        for other in [other for other in files if other in parents or other.startswith(f"{path}/")]:
            del files[other]


async def _get_tree(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], repository_of(request)
    sha = request.match_info["sha"]
    git_store.get(state, "tree", sha)
    return answer(_tree(state, repository, sha))


async def _create_commit(request: web.Request) -> web.Response:
    state, repository = _writable(request)
    data = await body_of(request)
    message, tree = text_of(data, "message", limit=MAX_MESSAGE), text_of(data, "tree")
    parents = data.get("parents") or []
    if not isinstance(parents, list):
        raise ApiError(422, "Invalid parents")
    git_store.get(state, "tree", tree)
    for parent in parents:
        _require_commit(state, str(parent))
    login = actor_of_call(request).login
    sha = git_store.write_commit(state, tree, tuple(map(str, parents)), message, login)
    return answer(_commit(state, repository, sha), 201)


async def _get_commit(request: web.Request) -> web.Response:
    return answer(_commit(request.app[STATE], repository_of(request), request.match_info["sha"]))


async def _list_commits(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], repository_of(request)
    start = git_store.resolve(
        state, repository, request.query.get("sha") or default_branch(state, repository)
    )
    size = request.query.get("per_page", "30")
    count = min(int(size), 100) if size.isdecimal() else 30
    shapes = []
    for (sha, _), _ in zip(git_store.history(state, start), range(count), strict=False):
        commit = _commit(state, repository, sha)
        url = f"{state.url}/repos/{repository}/commits/{sha}"
        shapes.append({"sha": sha, "url": url, "commit": commit, "parents": commit["parents"]})
    return answer(shapes)


async def _get_tarball(request: web.Request) -> web.Response:
    """GitHub sends the caller to codeload.github.com; so does this, to another path."""
    state, repository = request.app[STATE], repository_of(request)
    ref = request.match_info.get("ref") or default_branch(state, repository)
    sha = git_store.resolve(state, repository, ref)
    return web.Response(
        status=302, headers={"Location": f"{state.url}/_codeload/{repository}/legacy.tar.gz/{sha}"}
    )


async def _download(request: web.Request) -> web.Response:
    state, repository = request.app[STATE], f"{request.match_info['owner']}/{request.match_info['name']}"
    data = git_store.tarball(state, repository, request.match_info["sha"])
    await asyncio.sleep(0)
    return web.Response(body=data, content_type="application/x-gzip")


def _writable(request: web.Request) -> tuple[State, str]:
    state, repository = request.app[STATE], repository_of(request)
    require_write(state, repository, actor_of_call(request))
    return state, repository


def _require_commit(state: State, sha: str) -> None:
    try:
        git_store.commit_of(state, sha)
    except ApiError as error:
        raise ApiError(422, "Object does not exist") from error


def _is_path(path: str) -> bool:
    parts = path.split("/")
    return not any(part in ("", ".", "..") or part.lower() == ".git" or "\0" in part for part in parts)


def _git(state: State, repository: str) -> str:
    return f"{state.url}/repos/{repository}/git"


def _ref(state: State, repository: str, branch: str, sha: str) -> dict[str, Any]:
    root = _git(state, repository)
    target = {"sha": sha, "type": "commit", "url": f"{root}/commits/{sha}"}
    url = f"{root}/refs/heads/{branch}"
    return {"ref": f"refs/heads/{branch}", "node_id": f"REF_{branch}", "url": url, "object": target}


def _tree(state: State, repository: str, sha: str) -> dict[str, Any]:
    entries = []
    for path, (mode, blob) in sorted(git_store.tree_files(state, sha).items()):
        size = len(git_store.get(state, "blob", blob))
        url = f"{_git(state, repository)}/blobs/{blob}"
        entries.append({"path": path, "mode": mode, "type": "blob", "sha": blob, "size": size, "url": url})
    return {"sha": sha, "url": f"{_git(state, repository)}/trees/{sha}", "tree": entries, "truncated": False}


def _commit(state: State, repository: str, sha: str) -> dict[str, Any]:
    commit, root = git_store.commit_of(state, sha), _git(state, repository)
    name, _, rest = commit.author.partition(" <")
    who = {"name": name, "email": rest.partition(">")[0], "date": state.now()}
    return {
        "sha": sha,
        "node_id": f"C_{sha}",
        "url": f"{root}/commits/{sha}",
        "author": who,
        "committer": who,
        "message": commit.message,
        "tree": {"sha": commit.tree, "url": f"{root}/trees/{commit.tree}"},
        "parents": [{"sha": parent, "url": f"{root}/commits/{parent}"} for parent in commit.parents],
        "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None},
    }


ROOT = "/repos/{owner}/{name}"
SHA = "{sha:[0-9a-f]{40}}"
ROUTES = [
    web.get(ROOT + "/git/ref/heads/{branch:.+}", _get_ref),
    web.post(ROOT + "/git/refs", _create_ref),
    web.patch(ROOT + "/git/refs/heads/{branch:.+}", _update_ref),
    web.delete(ROOT + "/git/refs/heads/{branch:.+}", _delete_ref),
    web.post(ROOT + "/git/blobs", _create_blob),
    web.get(ROOT + "/git/blobs/" + SHA, _get_blob),
    web.post(ROOT + "/git/trees", _create_tree),
    web.get(ROOT + "/git/trees/" + SHA, _get_tree),
    web.post(ROOT + "/git/commits", _create_commit),
    web.get(ROOT + "/git/commits/" + SHA, _get_commit),
    web.get(ROOT + "/commits", _list_commits),
    web.get(ROOT + "/tarball", _get_tarball),
    web.get(ROOT + "/tarball/{ref:.+}", _get_tarball),
    web.get("/_codeload/{owner}/{name}/legacy.tar.gz/" + SHA, _download),
]
