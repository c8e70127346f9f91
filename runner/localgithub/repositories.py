"""Repositories: made with a first commit, shown in GitHub's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errors import SettingsError
from runner.github.calls import REPOSITORY
from runner.localgithub import git_store
from runner.localgithub.people import ensure_user, grant, user_shape
from runner.localgithub.state import ApiError, State, stable_id

DEFAULT_BRANCH = "main"


def ensure_repository(state: State, repository: str, contents: Mapping[str, bytes] | None = None) -> None:
    """Makes the repository where it is missing; the App's account may write to it."""
    if state.store.row("SELECT 1 FROM repositories WHERE name = ?", repository):
        return
    if not REPOSITORY.fullmatch(repository):
        raise SettingsError(
            f"{repository!r} is no repository name", "write owner/name, as in local/repository"
        )
    if contents is None and state.settings.contents is not None:
        contents = git_store.read_folder(state.settings.contents)
    files = contents or {"README.md": f"# {repository}\n".encode()}
    with state.store.transaction():
        sql = "INSERT INTO repositories (name, default_branch, created_at) VALUES (?, ?, ?)"
        state.store.run(sql, repository, DEFAULT_BRANCH, state.now())
        owner = repository.partition("/")[0]
        ensure_user(state, owner)
        grant(state, repository, state.settings.bot, "write")
        flat = {path: ("100644", git_store.put(state, "blob", data)) for path, data in files.items()}
        tree = git_store.write_tree(state, flat)
        sha = git_store.write_commit(state, tree, (), "First commit", owner)
        git_store.set_branch(state, repository, DEFAULT_BRANCH, sha)


def default_branch(state: State, repository: str) -> str:
    """The branch's name; ApiError 404 when there is no such repository."""
    row = state.store.row("SELECT default_branch FROM repositories WHERE name = ?", repository)
    if row is None:
        raise ApiError(404, "Not Found")
    return str(row["default_branch"])


def repository_shape(state: State, repository: str) -> dict[str, Any]:
    """A repository in GitHub's JSON shape."""
    owner, _, name = repository.partition("/")
    number = stable_id("repository", repository)
    sql = "SELECT count(*) FROM issues WHERE repository = ? AND state = 'open'"
    row = state.store.row(sql, repository)
    return {
        "id": number,
        "node_id": f"R_{number}",
        "name": name,
        "full_name": repository,
        "private": False,
        "owner": user_shape(state, owner),
        "html_url": f"{state.url}/{repository}",
        "description": None,
        "fork": False,
        "url": f"{state.url}/repos/{repository}",
        "has_issues": True,
        "archived": False,
        "disabled": False,
        "open_issues_count": row[0] if row else 0,
        "visibility": "public",
        "default_branch": default_branch(state, repository),
    }


def installation_id(owner: str) -> int:
    """The App's installation for `owner`."""
    return stable_id("installation", owner)


def event_payload(state: State, repository: str, actor: str, **fields: object) -> dict[str, Any]:
    """A webhook's payload: the event's own fields, and what every event carries."""
    owner = repository.partition("/")[0]
    number = installation_id(owner)
    return {
        **fields,
        "repository": repository_shape(state, repository),
        "sender": user_shape(state, actor),
        "installation": {"id": number, "node_id": f"I_{number}"},
    }
