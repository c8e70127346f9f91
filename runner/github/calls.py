"""The calls of GitHub's REST API that a mission needs, one method a call (docs.github.com/rest)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from errors import GitHubError
from runner.github.app import Tokens
from runner.github.change import commit_change
from runner.github.objects import Comment, Delivery, Head, IssueEvent, LabelEvent, PullRequest, Run, read
from runner.github.transport import GitHubSettings, Transport

MAX_BODY = 65_536  # characters; GitHub refuses longer comments and descriptions
MAX_EVENTS = 5_000  # of one repository in one look: fifty calls
MAX_TARBALL = 256 * 1024 * 1024
WRITERS = frozenset({"admin", "write"})
REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
SHORTENED = "\n\n… (shortened)"


class GitHubCalls:
    """Repositories are "owner/name". Raises GitHubError (4xx), RateLimited, Unavailable (see `Transport`)."""

    def __init__(
        self,
        tokens: Tokens,
        settings: GitHubSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tokens = tokens
        self._transport = Transport(tokens, settings or GitHubSettings(), clock=clock, sleep=sleep)
        self._login: str | None = None

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._transport.__aexit__(*error)

    def retry_at(self, repository: str) -> datetime | None:
        """When the rate limit of the repository's owner ends (UTC); None when calls are taken now."""
        return self._transport.retry_at(repository)

    # Who

    async def login(self) -> str:
        """The account that this client's comments appear under; empty where GitHub does not tell.

        It does not tell an installation token that is used as a plain one, as inside GitHub Actions.
        """
        if self._login is None:
            app_token = self._tokens.app_token()
            if app_token is None:
                self._login = await self._user()
            else:
                answer = await self._transport.request("GET", "/app", bearer=app_token)
                self._login = read(lambda data: f"{data['slug']}[bot]", answer.data)
        return self._login

    async def _user(self) -> str:
        try:
            answer = await self._transport.request("GET", "/user")
        except GitHubError as error:
            if error.status == 403:
                return ""
            raise
        return read(lambda data: str(data["login"]), answer.data)

    async def permission(self, repository: str, user: str) -> str:
        """admin, write, read or none; GitHub counts maintain as write and triage as read."""
        try:
            data = await self._get(repository, f"/collaborators/{_part(user)}/permission")
        except GitHubError as error:
            if error.status == 404:  # GitHub's answer for an App and for an account that is gone
                return "none"
            raise
        return read(lambda answer: str(answer["permission"]), data)

    async def may_write(self, repository: str, user: str) -> bool:
        """True when `user` may write to the repository, and so may spend."""
        return bool(user) and await self.permission(repository, user) in WRITERS

    # Issues

    async def issue(self, repository: str, number: int) -> Mapping[str, Any]:
        """The issue as GitHub gives it: the object that stands under `issue` in a webhook's payload."""
        return read(dict, await self._get(repository, f"/issues/{number}"))

    async def open_issues(self, repository: str, since: datetime | None = None) -> list[Mapping[str, Any]]:
        """Open issues as in `issue`, oldest first, updated at or after `since`, without pull requests."""
        params: dict[str, str | int] = {"state": "open", "sort": "created", "direction": "asc"}
        if since is not None:
            params["since"] = _utc(since)
        items = self._pages(repository, "/issues", params)
        return [item async for item in items if "pull_request" not in item]

    async def comments(self, repository: str, number: int) -> list[Comment]:
        """Every comment, oldest first."""
        return [read(Comment.read, item) for item in await self.comments_since(repository, number)]

    async def comments_since(
        self, repository: str, number: int, since: datetime | None = None
    ) -> list[Mapping[str, Any]]:
        """Comments as a webhook gives them, oldest first, written or changed at or after `since`."""
        params = {} if since is None else {"since": _utc(since)}
        return [item async for item in self._pages(repository, f"/issues/{number}/comments", params)]

    async def comment(self, repository: str, number: int, body: str) -> Comment:
        """Adds a comment; a second call adds a second one."""
        data = await self._send("POST", repository, f"/issues/{number}/comments", {"body": body})
        return read(Comment.read, data)

    async def add_labels(self, repository: str, number: int, labels: Sequence[str]) -> None:
        """Adds labels and keeps the others; a label that the repository lacks is made."""
        body = {"labels": list(labels)}
        await self._send("POST", repository, f"/issues/{number}/labels", body, repeatable=True)

    async def remove_label(self, repository: str, number: int, label: str) -> None:
        """Removes a label; nothing happens when the issue does not carry it."""
        try:
            await self._send("DELETE", repository, f"/issues/{number}/labels/{_part(label)}")
        except GitHubError as error:
            if error.status != 404:
                raise

    async def label_events(self, repository: str, number: int) -> list[LabelEvent]:
        """Who put which label on the issue, oldest first."""
        items = self._pages(repository, f"/issues/{number}/events")
        return [read(LabelEvent.read, item) async for item in items if item.get("event") == "labeled"]

    async def repository_events(self, repository: str, since: datetime) -> list[IssueEvent]:
        """What happened to issues and pull requests since then, oldest first; the newest MAX_EVENTS of it at most."""
        found: list[IssueEvent] = []
        async for item in self._pages(repository, "/issues/events"):
            event = read(IssueEvent.read, item)
            if event.at < since or len(found) == MAX_EVENTS:
                break
            if event.issue:
                found.append(event)
        return found[::-1]

    # Contents

    async def head(self, repository: str, branch: str | None = None) -> Head:
        """Where `branch` (the default branch, when None) points to. GitHubError 404 when there is none."""
        if branch is None:
            branch = read(lambda data: str(data["default_branch"]), await self._get(repository, ""))
        data = await self._get(repository, f"/git/ref/heads/{_part(branch, safe='/')}")
        return Head(branch, read(lambda ref: str(ref["object"]["sha"]), data))

    async def tarball(self, repository: str, ref: str, target: Path, max_bytes: int = MAX_TARBALL) -> int:
        """Streams the tree of `ref` as .tar.gz to `target`; gives its size. GitHubError when it is larger."""
        path = f"{_root(repository)}/tarball/{_part(ref, safe='/')}"
        return await self._transport.download(path, target, repository=repository, max_bytes=max_bytes)

    async def branch_sha(self, repository: str, branch: str) -> str | None:
        """The commit that `branch` points to; None when there is no such branch."""
        try:
            return (await self.head(repository, branch)).sha
        except GitHubError as error:
            if error.status == 404:
                return None
            raise

    async def commits(self, repository: str, branch: str, count: int) -> list[tuple[str, str]]:
        """(id, message) of the newest `count` (at most 100) commits of `branch`, newest first."""
        data = await self._get(repository, "/commits", {"sha": branch, "per_page": count})
        return read(lambda items: [(str(i["sha"]), str(i["commit"]["message"])) for i in items], data)

    async def create_branch(self, repository: str, branch: str, sha: str) -> None:
        """Makes `branch` at commit `sha`. GitHubError 422 when it exists."""
        await self._send("POST", repository, "/git/refs", {"ref": f"refs/heads/{branch}", "sha": sha})

    async def move_branch(self, repository: str, branch: str, sha: str) -> None:
        """Moves `branch` forward to `sha`. GitHubError 422 when that would lose a commit."""
        path = f"/git/refs/heads/{_part(branch, safe='/')}"
        await self._send("PATCH", repository, path, {"sha": sha, "force": False}, repeatable=True)

    async def commit(
        self, repository: str, base_sha: str, files: Mapping[str, bytes | None], message: str
    ) -> str:
        """The id of a new commit on `base_sha`; see `commit_change`."""
        return await commit_change(self._transport, repository, base_sha, files, message)

    # Pull requests

    async def create_pull_request(
        self, repository: str, branch: str, base: str, title: str, body: str
    ) -> PullRequest:
        """Opens a pull request. GitHubError 422 when one is open from `branch` or nothing differs."""
        fields = {"title": title, "body": body, "head": branch, "base": base}
        return read(PullRequest.read, await self._send("POST", repository, "/pulls", fields))

    async def pull_request(self, repository: str, number: int) -> PullRequest:
        """One pull request, with whether and as which commit it was merged."""
        return read(PullRequest.read, await self.whole_pull_request(repository, number))

    async def whole_pull_request(self, repository: str, number: int) -> Mapping[str, Any]:
        """One pull request as GitHub gives it: the object that stands under `pull_request` in a webhook's payload."""
        return read(dict, await self._get(repository, f"/pulls/{number}"))

    async def pull_request_of(self, repository: str, branch: str) -> PullRequest | None:
        """The newest pull request from `branch`, open or closed, also when the branch is deleted."""
        head = f"{repository.partition('/')[0]}:{branch}"
        params: dict[str, str | int] = {"head": head, "state": "all", "per_page": 1}
        data = await self._get(repository, "/pulls", params)
        return read(lambda items: PullRequest.read(items[0]) if items else None, data)

    # Workflows

    async def dispatch(self, repository: str, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        """Starts `workflow` (file name) on `ref`; `find_run` tells which run that became."""
        body = {"ref": ref, "inputs": dict(inputs)}
        await self._send("POST", repository, f"/actions/workflows/{_part(workflow)}/dispatches", body)

    async def find_run(self, repository: str, workflow: str, text: str, since: datetime) -> Run | None:
        """The newest dispatched run, made at or after `since`, whose title (`run-name`) contains `text`."""
        created = f">={_utc(since)}"
        path = f"/actions/workflows/{_part(workflow)}/runs"
        params: dict[str, str | int] = {"event": "workflow_dispatch", "created": created}
        async for item in self._pages(repository, path, params, key="workflow_runs"):
            run = read(Run.read, item)
            if text in run.title:
                return run
        return None

    async def run(self, repository: str, run: int) -> Run:
        """One workflow run."""
        return read(Run.read, await self._get(repository, f"/actions/runs/{run}"))

    # Webhook deliveries

    async def deliveries(self, since: datetime) -> list[Delivery]:
        """Attempts to deliver the App's webhook at or after `since`, newest first, MAX_EVENTS at most.

        Empty where this client is no App: only an App sees what became of its webhooks.
        """
        bearer = self._tokens.app_token()
        if bearer is None:
            return []
        found: list[Delivery] = []
        async for item in self._transport.pages("/app/hook/deliveries", bearer=bearer):
            delivery = read(Delivery.read, item)
            if delivery.at < since or len(found) == MAX_EVENTS:
                break
            found.append(delivery)
        return found

    async def redeliver(self, delivery: int) -> None:
        """Asks GitHub to send a delivery of the App's webhook again, under the same guid."""
        path, bearer = f"/app/hook/deliveries/{delivery}/attempts", self._tokens.app_token()
        await self._transport.request("POST", path, bearer=bearer, repeatable=True)

    async def _get(self, repository: str, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        answer = await self._transport.request(
            "GET", f"{_root(repository)}{path}", repository=repository, params=params
        )
        return answer.data

    async def _send(
        self, method: str, repository: str, path: str, body: object = None, *, repeatable: bool | None = None
    ) -> Any:
        answer = await self._transport.request(
            method, f"{_root(repository)}{path}", repository=repository, json=body, repeatable=repeatable
        )
        return answer.data

    def _pages(
        self,
        repository: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        key: str | None = None,
    ) -> AsyncIterator[Any]:
        return self._transport.pages(
            f"{_root(repository)}{path}", repository=repository, params=params, key=key
        )


def _root(repository: str) -> str:
    # The name becomes part of a path: nothing but a name may get there.
    if not REPOSITORY.fullmatch(repository):
        raise GitHubError(404, f"{repository[:150]!r} is no repository: write owner/name")
    return f"/repos/{repository}"


def _part(text: str, safe: str = "") -> str:
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise GitHubError(404, f"{text[:150]!r} cannot stand in a path")
    return quote(text, safe=safe)


def fit(body: str, ending: str = "") -> str:
    """`body` and `ending` within GitHub's limit; a body that is too long is cut, the ending never."""
    if len(body) + len(ending) > MAX_BODY:
        body = body[: MAX_BODY - len(ending) - len(SHORTENED)] + SHORTENED
    return body + ending


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
