"""The client for GitHub, with effects that happen once.

An effect carries a marker, an HTML comment that names the mission, and is looked for before it is made. So
every `ensure_` call may be repeated after a crash between any two of its steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from errors import GitHubError
from runner.github.calls import GitHubCalls, fit
from runner.github.objects import PullRequest

if TYPE_CHECKING:
    from runner.execute import Change

MAX_TITLE = 256  # characters; GitHub refuses longer titles
# How many commits of a branch are looked at for the mission's own: one, unless people pushed on top of it.
MAX_COMMITS = 30


def marker(mission: UUID | str, kind: str) -> str:
    """What an effect's text carries and is found by."""
    return f"<!-- agents-cloud mission={mission} kind={kind} -->"


class GitHub(GitHubCalls):
    """Use as `async with GitHub(PlainToken(…), GitHubSettings(…)) as github`."""

    async def ensure_comment(self, repository: str, number: int, marker: str, body: str) -> str:
        """The URL of our one comment on issue `number` that carries `marker`, made where it is missing.

        Only this client's own account counts (any App's, where it is unknown): anybody may copy a marker.
        """
        login = await self.login()
        for comment in await self.comments(repository, number):
            ours = comment.author == login if login else comment.author.endswith("[bot]")
            if ours and marker in comment.body:
                return comment.url
        made = await self.comment(repository, number, fit(body, f"\n\n{marker}"))
        return made.url

    async def ensure_pull_request(
        self, repository: str, marker: str, branch: str, change: Change, base: str | None = None
    ) -> tuple[int, str]:
        """Number and URL of the one pull request from `branch` to `base` (default: the default branch).

        `branch` belongs to the mission alone, so a pull request from it, open or closed, is the mission's.
        Raises ExecutionError when `change` changes nothing, GitHubError 422 when others' work is on it.
        """
        found = await self.pull_request_of(repository, branch)
        if found is None:
            await self._ensure_branch(repository, marker, branch, change)
            found = await self._open_pull_request(repository, marker, branch, change, base)
        return found.number, found.url

    async def _ensure_branch(self, repository: str, marker: str, branch: str, change: Change) -> None:
        # The commit is whole before a branch points to it: a branch that is there holds all of the change.
        at = await self.branch_sha(repository, branch)
        trailer = marker.removeprefix("<!-- ").removesuffix(" -->")
        if at is not None and at != change.base_sha:
            await self._check_ours(repository, branch, trailer, change.base_sha)
            return
        message = f"{_title(change)}\n\n{trailer}"
        sha = await self.commit(repository, change.base_sha, change.files, message)
        if at is None:
            try:
                await self.create_branch(repository, branch, sha)
            except GitHubError as error:
                if error.status != 422 or await self.branch_sha(repository, branch) is None:
                    raise
                # Another call made it at the same time.
                await self._check_ours(repository, branch, trailer, change.base_sha)
        else:
            await self.move_branch(repository, branch, sha)

    async def _check_ours(self, repository: str, branch: str, trailer: str, base_sha: str) -> None:
        for sha, message in await self.commits(repository, branch, MAX_COMMITS):
            if trailer in message:
                return
            if sha == base_sha:
                break
        raise GitHubError(422, f"branch {branch} holds work of somebody else: rename or delete it")

    async def _open_pull_request(
        self, repository: str, marker: str, branch: str, change: Change, base: str | None
    ) -> PullRequest:
        base = base or (await self.head(repository)).branch
        body = fit(change.body, f"\n\n{marker}")
        try:
            return await self.create_pull_request(repository, branch, base, _title(change), body)
        except GitHubError as error:
            found = await self.pull_request_of(repository, branch) if error.status == 422 else None
            if found is None:
                raise
            return found  # made by a call at the same time


def _title(change: Change) -> str:
    return " ".join(change.title.split())[:MAX_TITLE] or "Change by an agent"
