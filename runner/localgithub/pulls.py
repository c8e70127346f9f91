"""Pull requests: opened, merged and reverted, with their webhooks."""

from __future__ import annotations

import sqlite3

from runner.localgithub import git_store
from runner.localgithub.git_objects import Commit
from runner.localgithub.issues import add_issue, emit, store_event
from runner.localgithub.people import user_shape
from runner.localgithub.repositories import default_branch, event_payload
from runner.localgithub.shapes import issue_row, pull_row
from runner.localgithub.state import ApiError, State

NO_SHA = "0" * 40


def pull_of(state: State, repository: str, number: int) -> tuple[sqlite3.Row, sqlite3.Row]:
    """The two rows of a pull request: as an issue, and its own. ApiError 404 when there is none."""
    row = issue_row(state, repository, number)
    pull = pull_row(state, row["id"])
    if pull is None:
        raise ApiError(404, "Not Found")
    return row, pull


def open_pull(
    state: State, repository: str, title: str, body: str | None, head: str, base: str, author: str
) -> int:
    """Gives the number. ApiError 422 as GitHub words it."""
    sides = {
        side: git_store.branch_sha(state, repository, name) for side, name in (("head", head), ("base", base))
    }
    for side, sha in sides.items():
        if sha is None:
            fields = {"resource": "PullRequest", "field": side, "code": "invalid"}
            raise ApiError(422, "Validation Failed", fields)
    owner = repository.partition("/")[0]
    sql = """
        SELECT 1 FROM pulls JOIN issues ON issues.id = pulls.issue
        WHERE repository = ? AND head = ? AND base = ? AND state = 'open'"""
    if state.store.row(sql, repository, head, base):
        raise _invalid(f"A pull request already exists for {owner}:{head}.")
    head_sha, base_sha = str(sides["head"]), str(sides["base"])
    if any(sha == head_sha for sha, _ in git_store.history(state, base_sha)):
        raise _invalid(f"No commits between {base} and {head}")
    with state.store.transaction():
        row = add_issue(state, repository, title, body, author)
        sql = "INSERT INTO pulls (issue, head, head_sha, base, base_sha) VALUES (?, ?, ?, ?, ?)"
        state.store.run(sql, row["id"], head, head_sha, base, base_sha)
        emit(state, repository, row["number"], "opened", author)
    return int(row["number"])


def merge_pull(state: State, repository: str, number: int, actor: str) -> str:
    """Merges with a merge commit, whose id it gives. ApiError 405 when closed or in conflict."""
    row, pull = pull_of(state, repository, number)
    head = git_store.branch_sha(state, repository, pull["head"])
    tip = git_store.branch_sha(state, repository, pull["base"])
    if row["state"] != "open" or head is None or tip is None:
        raise ApiError(405, "Pull Request is not mergeable")
    mine = {sha for sha, _ in git_store.history(state, tip)}
    ancestor = next((sha for sha, _ in git_store.history(state, head) if sha in mine), None)
    if ancestor is None:
        raise ApiError(405, "Pull Request is not mergeable")
    with state.store.transaction():
        tree = git_store.merge(state, ancestor, tip, head)
        owner = repository.partition("/")[0]
        message = f"Merge pull request #{number} from {owner}/{pull['head']}\n\n{row['title']}"
        sha = git_store.write_commit(state, tree, (tip, head), message, actor)
        sql = "UPDATE pulls SET merged_at = ?, merged_by = ?, merge_sha = ?, head_sha = ? WHERE issue = ?"
        state.store.run(sql, state.now(), actor, sha, head, row["id"])
        sql = "UPDATE issues SET state = 'closed', closed_at = ?, closed_by = ?, updated_at = ? WHERE id = ?"
        state.store.run(sql, state.now(), actor, state.now(), row["id"])
        store_event(state, row["id"], "merged", actor)
        store_event(state, row["id"], "closed", actor)
        emit(state, repository, number, "closed", actor)
        push(state, repository, pull["base"], sha, actor, f"{repository}#{number}")
    return sha


def revert_pull(state: State, repository: str, number: int, actor: str) -> int:
    """As the Revert button and a merge of what it opens; gives the new pull request's number."""
    row, pull = pull_of(state, repository, number)
    tip = git_store.branch_sha(state, repository, pull["base"])
    if pull["merge_sha"] is None or tip is None:
        raise ApiError(422, "Only a merged pull request can be reverted")
    merge = git_store.commit_of(state, pull["merge_sha"])
    branch, title = f"revert-{number}-{pull['head']}", f'Revert "{row["title"]}"'
    with state.store.transaction():
        tree = git_store.merge(state, pull["merge_sha"], tip, merge.parents[0])
        message = f"{title}\n\nThis reverts commit {pull['merge_sha']}."
        sha = git_store.write_commit(state, tree, (tip,), message, actor)
        push(state, repository, branch, sha, actor, f"{repository}#{number}")
        reverting = open_pull(
            state, repository, title, f"Reverts {repository}#{number}", branch, pull["base"], actor
        )
        merge_pull(state, repository, reverting, actor)
    return reverting


def push(state: State, repository: str, branch: str, sha: str, actor: str, line: str) -> None:
    """Moves (or makes) a branch and tells of it."""
    before = git_store.branch_sha(state, repository, branch)
    git_store.set_branch(state, repository, branch, sha)
    known = {commit for commit, _ in git_store.history(state, before)} if before else set()
    if before is None and (tip := git_store.branch_sha(state, repository, default_branch(state, repository))):
        known = {commit for commit, _ in git_store.history(state, tip)}
    new = [(i, c) for i, c in git_store.history(state, sha) if i not in known]
    commits = [_commit_shape(state, repository, i, c, actor) for i, c in reversed(new)]
    payload = event_payload(
        state,
        repository,
        actor,
        ref=f"refs/heads/{branch}",
        before=before or NO_SHA,
        after=sha,
        created=before is None,
        deleted=False,
        forced=False,
        base_ref=None,
        compare=f"{state.url}/{repository}/compare/{(before or NO_SHA)[:12]}...{sha[:12]}",
        commits=commits,
        head_commit=commits[-1] if commits else None,
        pusher={"name": actor, "email": f"{actor}@users.noreply.github.com"},
    )
    state.deliveries.add("push", payload, line)


def _commit_shape(state: State, repository: str, sha: str, commit: Commit, actor: str) -> dict[str, object]:
    old = (
        git_store.tree_files(state, git_store.commit_of(state, commit.parents[0]).tree)
        if commit.parents
        else {}
    )
    new = git_store.tree_files(state, commit.tree)
    who = {
        "name": actor,
        "email": f"{actor}@users.noreply.github.com",
        "username": user_shape(state, actor)["login"],
    }
    return {
        "id": sha,
        "tree_id": commit.tree,
        "distinct": True,
        "message": commit.message,
        "timestamp": state.now(),
        "url": f"{state.url}/{repository}/commit/{sha}",
        "author": who,
        "committer": who,
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "modified": sorted(path for path in old.keys() & new.keys() if old[path] != new[path]),
    }


def _invalid(message: str) -> ApiError:
    return ApiError(
        422, "Validation Failed", {"resource": "PullRequest", "code": "custom", "message": message}
    )
