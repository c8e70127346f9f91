"""The local GitHub: shapes, webhooks, loaded files, faults, restarts and the simulated maintainer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import InputError, IssueError, SettingsError
from runner.issue import issue_from_github
from runner.localgithub import Fault, LocalGitHub, Reaction, load_reactions
from runner.localgithub.load import read_file
from tests.servers.github_fixtures import REPOSITORY, SECRET, Clock, Receiver, client_of, local_github

BOT = "agents-cloud[bot]"
ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "real" / "issues.json"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def server(tmp_path: Path, receiver: Receiver) -> AsyncIterator[LocalGitHub]:
    async with local_github(tmp_path / "data", Clock(), webhook_url=receiver.url, secret=SECRET) as server:
        yield server


class Api:
    """Plain calls, as curl would make them."""

    def __init__(self, server: LocalGitHub, session: aiohttp.ClientSession, login: str | None = None) -> None:
        self._server, self._session = server, session
        self._headers = {"Authorization": f"Bearer {server.token(login)}"}

    async def __call__(self, method: str, path: str, body: object = None, **options: Any) -> tuple[int, Any]:
        headers = options.pop("headers", self._headers)
        url = self._server.url + path
        async with self._session.request(method, url, json=body, headers=headers, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def api(server: LocalGitHub, session: aiohttp.ClientSession) -> Api:
    return Api(server, session)


def write(path: Path, data: object) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    return path


# Shapes, as docs.github.com describes them


USER = {"login", "id", "node_id", "type", "site_admin", "html_url", "url"}
REPOSITORY_KEYS = {
    "id",
    "node_id",
    "name",
    "full_name",
    "private",
    "owner",
    "html_url",
    "default_branch",
    "url",
}
ISSUE = {
    "id", "node_id", "number", "title", "body", "user", "labels", "state", "state_reason", "locked", "assignees",
    "comments", "created_at", "updated_at", "closed_at", "author_association", "html_url", "url", "comments_url",
}  # fmt: skip
LABEL = {"id", "node_id", "name", "color", "default", "description", "url"}
COMMENT = {
    "id",
    "node_id",
    "url",
    "html_url",
    "issue_url",
    "user",
    "body",
    "created_at",
    "author_association",
}
PULL = {
    "id", "number", "state", "title", "body", "user", "head", "base", "merged", "merged_at", "merged_by",
    "merge_commit_sha", "draft", "html_url", "issue_url", "created_at", "closed_at",
}  # fmt: skip


async def test_an_issue_has_githubs_shape(server: LocalGitHub, api: Api) -> None:
    number = server.open_issue(REPOSITORY, "Title", "Body", ["bug"], "ada")

    status, issue = await api("GET", f"/repos/{REPOSITORY}/issues/{number}")

    assert status == 200
    assert issue.keys() >= ISSUE
    assert issue["user"].keys() >= USER
    assert issue["user"] | {"login": "ada", "type": "User", "site_admin": False} == issue["user"]
    assert issue["labels"][0].keys() == LABEL
    assert (issue["state"], issue["state_reason"], issue["closed_at"]) == ("open", None, None)
    assert issue["created_at"] == "2026-09-21T14:13:20Z"
    assert "pull_request" not in issue
    assert issue_from_github(issue, REPOSITORY).labels == ("bug",)


async def test_webhooks_tell_the_whole_life_of_an_issue(
    server: LocalGitHub, api: Api, receiver: Receiver
) -> None:
    _, issue = await api(
        "POST", f"/repos/{REPOSITORY}/issues", {"title": "T", "body": "B", "labels": ["bug"]}
    )
    path = f"/repos/{REPOSITORY}/issues/{issue['number']}"
    await api("POST", f"{path}/labels", {"labels": ["agent:secure-pro"]})
    await api("DELETE", f"{path}/labels/bug")
    await api("POST", f"{path}/comments", {"body": "hello"})
    await api("PATCH", path, {"state": "closed", "state_reason": "not_planned"})
    await api("PATCH", path, {"state": "open"})
    await server.sent()

    assert receiver.about(1) == [
        "issues.opened#1", "issues.labeled#1", "issues.labeled#1", "issues.unlabeled#1",
        "issue_comment.created#1", "issues.closed#1", "issues.reopened#1",
    ]  # fmt: skip
    opened, _, labeled, _, comment, closed, reopened = (hook.payload for hook in receiver.hooks)
    for payload in (opened, labeled, comment, closed):
        assert payload["repository"].keys() >= REPOSITORY_KEYS
        assert payload["repository"]["full_name"] == REPOSITORY
        assert payload["sender"].keys() >= USER
        assert (payload["sender"]["login"], payload["sender"]["type"]) == (BOT, "Bot")
        assert payload["installation"].keys() == {"id", "node_id"}
        assert payload["issue"].keys() >= ISSUE
    assert [label["name"] for label in opened["issue"]["labels"]] == ["bug"]
    assert labeled["label"]["name"] == "agent:secure-pro"
    assert comment["comment"].keys() >= COMMENT
    assert comment["comment"]["html_url"].endswith(f"/issues/1#issuecomment-{comment['comment']['id']}")
    assert (closed["issue"]["state"], closed["issue"]["state_reason"]) == ("closed", "not_planned")
    assert (reopened["issue"]["state"], reopened["issue"]["state_reason"]) == ("open", "reopened")


async def test_webhooks_tell_of_a_merge_and_of_its_revert(
    server: LocalGitHub, api: Api, receiver: Receiver
) -> None:
    number = await pull_request(server, {"a.py": b"a"})
    server.merge(REPOSITORY, number, "maintainer")
    reverting = server.revert(REPOSITORY, number, "maintainer")
    await server.sent()

    assert receiver.about(number) == [f"pull_request.opened#{number}", f"pull_request.closed#{number}"]
    closed = next(hook.payload for hook in receiver.hooks if hook.what == f"pull_request.closed#{number}")
    pull = closed["pull_request"]
    assert closed["number"] == number
    assert pull.keys() >= PULL
    assert (pull["merged"], pull["state"], pull["merged_by"]["login"]) == (True, "closed", "maintainer")
    assert pull["head"]["ref"] == "feature"
    assert pull["head"]["repo"]["full_name"] == REPOSITORY
    status, shape = await api("GET", f"/repos/{REPOSITORY}/pulls/{reverting}")
    assert (status, shape["merged"]) == (200, True)
    assert (shape["title"], shape["body"]) == ('Revert "Add a"', f"Reverts {REPOSITORY}#{number}")
    pushes = [hook.payload for hook in receiver.hooks if hook.event == "push"]
    on_main = [push for push in pushes if push["ref"] == "refs/heads/main"]
    assert [push["head_commit"]["added"] + push["head_commit"]["removed"] for push in on_main] == [
        ["a.py"]
    ] * 2
    messages = [commit["message"] for commit in on_main[1]["commits"]]
    assert f'Revert "Add a"\n\nThis reverts commit {pull["merge_commit_sha"]}.' in messages
    assert [item["name"] for item in await tree_of(api)] == ["README.md"]


async def pull_request(server: LocalGitHub, files: dict[str, bytes | None], branch: str = "feature") -> int:
    async with client_of(server) as github:
        head = await github.head(REPOSITORY)
        sha = await github.commit(REPOSITORY, head.sha, files, "Add a")
        await github.create_branch(REPOSITORY, branch, sha)
        return (await github.create_pull_request(REPOSITORY, branch, "main", "Add a", "Please.")).number


async def tree_of(api: Api) -> list[dict[str, Any]]:
    _, ref = await api("GET", f"/repos/{REPOSITORY}/git/ref/heads/main")
    _, commit = await api("GET", f"/repos/{REPOSITORY}/git/commits/{ref['object']['sha']}")
    _, tree = await api("GET", f"/repos/{REPOSITORY}/git/trees/{commit['tree']['sha']}?recursive=1")
    assert tree["truncated"] is False
    return [{"name": entry["path"], **entry} for entry in tree["tree"]]


async def test_the_events_of_a_repository_come_newest_first_in_pages_with_what_each_is_about(
    server: LocalGitHub, api: Api
) -> None:
    number = server.open_issue(REPOSITORY, "Title", "Body", ["bug"], "ada")
    server.close(REPOSITORY, number, "not_planned", "ada")
    pull = await pull_request(server, {"a.py": b"a"})
    server.merge(REPOSITORY, pull, "maintainer")
    server.reopen(REPOSITORY, number, "ada")

    status, events = await api("GET", f"/repos/{REPOSITORY}/issues/events")
    pages = [
        (await api("GET", f"/repos/{REPOSITORY}/issues/events?per_page=2&page={page}"))[1]
        for page in (1, 2, 3, 4)
    ]

    assert status == 200
    assert [(event["event"], event["issue"]["number"]) for event in events] == [
        ("reopened", number), ("closed", pull), ("merged", pull), ("closed", number), ("labeled", number),
    ]  # fmt: skip
    assert [event for page in pages for event in page] == events
    assert events[0].keys() >= {"id", "node_id", "url", "actor", "event", "created_at", "commit_id", "issue"}
    assert events[0]["issue"].keys() >= ISSUE
    assert events[1]["issue"]["pull_request"]["merged_at"] is not None
    assert "pull_request" not in events[0]["issue"]
    assert events[4]["label"]["name"] == "bug"
    # An issue's own list goes the other way, and says of none what it is about.
    _, own = await api("GET", f"/repos/{REPOSITORY}/issues/{number}/events")
    assert [event["event"] for event in own] == ["labeled", "closed", "reopened"]
    assert "issue" not in own[0]


async def test_conflicting_pull_requests_are_not_mergeable(server: LocalGitHub, api: Api) -> None:
    first = await pull_request(server, {"README.md": b"one"}, "one")
    second = await pull_request(server, {"README.md": b"two"}, "two")
    apart = await pull_request(server, {"other.md": b"three"}, "three")

    answers = [
        await api("PUT", f"/repos/{REPOSITORY}/pulls/{n}/merge") for n in (first, second, apart, first)
    ]

    assert [status for status, _ in answers] == [200, 405, 200, 405]
    assert answers[0][1].keys() == {"sha", "merged", "message"}
    assert answers[1][1]["message"] == "Pull Request is not mergeable"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
async def test_ids_are_those_that_git_computes(server: LocalGitHub, tmp_path: Path) -> None:
    files: dict[str, bytes | None] = {"src/b.py": b"b = 1\n", "src.txt": b"t", "a/b/c.bin": b"\xff\x00"}
    await pull_request(server, files)
    async with client_of(server) as github:
        sha = (await github.head(REPOSITORY, "feature")).sha
        tree = (await github._get(REPOSITORY, f"/git/commits/{sha}"))["tree"]["sha"]
        await github.tarball(REPOSITORY, "feature", tmp_path / "t.tar.gz")
    with tarfile.open(tmp_path / "t.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    [folder] = tmp_path.glob("local-repository-*")

    def git(*arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment
        ).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    assert git("write-tree") == tree


async def test_the_links_in_an_answer_lead_to_a_page_that_shows_texts_as_texts(
    server: LocalGitHub, api: Api, session: aiohttp.ClientSession
) -> None:
    number = server.open_issue(REPOSITORY, "<script>alert(1)</script>", "a & b", ["<b>"])
    server.comment(REPOSITORY, number, "<img src=x>", "eve")
    _, issue = await api("GET", f"/repos/{REPOSITORY}/issues/{number}")

    async with session.get(issue["html_url"]) as response:
        text = await response.text()
    async with session.get(server.url + f"/{REPOSITORY}/issues/99") as missing:
        assert (missing.status, await missing.text()) == (404, "Not Found")

    assert (response.status, response.content_type) == (200, "text/html")
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    for raw in ("<script", "<img", "<b> "):
        assert raw not in text


# Refusals


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/repos/no/where/issues/1", None, 404, "Not Found"),
        ("GET", f"/repos/{REPOSITORY}/issues/99", None, 404, "Not Found"),
        ("GET", f"/repos/{REPOSITORY}/pulls/1", None, 404, "Not Found"),
        ("GET", "/no/such/call", None, 404, "Not Found"),
        ("POST", f"/repos/{REPOSITORY}/issues", {"title": ""}, 422, "Validation Failed"),
        ("POST", f"/repos/{REPOSITORY}/issues", {"title": "x" * 257}, 422, "Validation Failed"),
        ("POST", f"/repos/{REPOSITORY}/issues", [1], 400, "Body should be a JSON object"),
        ("POST", f"/repos/{REPOSITORY}/issues/1/comments", {"body": "x" * 65_537}, 422, "Validation Failed"),
        ("PATCH", f"/repos/{REPOSITORY}/issues/1", {"state": "gone"}, 422, "Validation Failed"),
        ("POST", f"/repos/{REPOSITORY}/issues/1/labels", {"labels": [1]}, 422, "Validation Failed"),
        ("DELETE", f"/repos/{REPOSITORY}/issues/1/labels/none", None, 404, "Label does not exist"),
        ("POST", f"/repos/{REPOSITORY}/git/refs", {"ref": "refs/tags/x", "sha": "0" * 40}, 422, "valid ref"),
        ("POST", f"/repos/{REPOSITORY}/git/refs", {"ref": "refs/heads/x", "sha": "0" * 40}, 422, "not exist"),
        (
            "POST",
            f"/repos/{REPOSITORY}/pulls",
            {"title": "t", "head": "x", "base": "main"},
            422,
            "Validation",
        ),
        (
            "POST",
            f"/repos/{REPOSITORY}/pulls",
            {"title": "t", "head": "main", "base": "main"},
            422,
            "Validation",
        ),
        ("GET", "/app", None, 401, "A JSON web token could not be decoded"),
        ("POST", "/_local/faults", {"kind": "earthquake"}, 422, "unknown"),
        ("POST", "/_local/faults", {"kind": "drop", "colour": 1}, 422, "unknown"),
    ],
)
async def test_what_github_refuses_is_refused(
    server: LocalGitHub, api: Api, method: str, path: str, body: object, status: int, message: str
) -> None:
    server.open_issue(REPOSITORY, "Hello")

    answer = await api(method, path, body)

    assert answer[0] == status
    assert message in answer[1]["message"]
    assert answer[1].keys() >= {"message", "documentation_url", "status"}


@pytest.mark.parametrize("path", ["../x", "/x", "a/../b", ".git/config", "a//b", ""])
async def test_a_path_that_leaves_the_tree_is_refused(api: Api, path: str) -> None:
    entry = {"path": path, "mode": "100644", "type": "blob", "content": "x"}
    status, answer = await api("POST", f"/repos/{REPOSITORY}/git/trees", {"tree": [entry]})
    assert (status, answer["message"]) == (422, "tree.path contains a malformed path component")


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nobody"}, {"Authorization": "Basic eDp5"}])
async def test_a_call_without_a_valid_token_is_refused(api: Api, header: dict[str, str]) -> None:
    for path in (f"/repos/{REPOSITORY}/issues", "/_local/faults"):
        status, _ = await api("POST", path, {"title": "Hello"}, headers=header)
        assert status == 401


async def test_a_stranger_may_comment_but_not_label_merge_or_push(
    server: LocalGitHub, session: aiohttp.ClientSession
) -> None:
    number = await pull_request(server, {"a.py": b"a"})
    stranger = Api(server, session, "stranger")
    root = f"/repos/{REPOSITORY}"
    calls = [
        ("POST", f"{root}/issues/{number}/comments", {"body": "hi"}),
        ("POST", f"{root}/issues", {"title": "mine", "labels": ["agent:secure-pro"]}),
        ("POST", f"{root}/issues/{number}/labels", {"labels": ["agent:secure-pro"]}),
        ("PUT", f"{root}/pulls/{number}/merge", None),
        ("POST", f"{root}/git/blobs", {"content": "x"}),
        ("POST", f"{root}/actions/workflows/x.yml/dispatches", {"ref": "main"}),
        ("PUT", f"/_local{root}/collaborators/stranger", {"permission": "admin"}),
    ]
    answers = [await stranger(*call) for call in calls]

    assert [status for status, _ in answers] == [201, 201, 403, 403, 403, 403, 403]
    assert answers[1][1]["labels"] == []


# Webhooks


async def test_every_delivery_is_signed(server: LocalGitHub, receiver: Receiver) -> None:
    server.open_issue(REPOSITORY, "Grüße 🚀", "ü" * 100)
    await server.sent()

    [hook] = receiver.hooks
    digest = hmac.new(SECRET.encode(), hook.body, hashlib.sha256).hexdigest()
    assert hook.signature == f"sha256={digest}"
    assert str(UUID(hook.guid)) == hook.guid
    assert hook.payload["issue"]["title"] == "Grüße 🚀"


async def test_deliveries_of_an_issue_keep_their_order_while_others_overtake(
    server: LocalGitHub, receiver: Receiver
) -> None:
    receiver.gate.clear()
    first = server.open_issue(REPOSITORY, "one", labels=["a", "b"])
    second = server.open_issue(REPOSITORY, "two")
    await receiver.wait(2)
    assert {hook.what for hook in receiver.hooks} == {f"issues.opened#{first}", f"issues.opened#{second}"}

    receiver.gate.set()
    await server.sent()

    assert receiver.about(first) == [f"issues.{a}#{first}" for a in ("opened", "labeled", "labeled")]


async def test_a_failed_delivery_is_recorded_and_not_sent_again_by_itself(
    server: LocalGitHub, receiver: Receiver, api: Api
) -> None:
    receiver.status = 500
    server.open_issue(REPOSITORY, "one")
    await server.sent()
    receiver.status = 202

    _, [delivery] = await api("GET", f"/repos/{REPOSITORY}/hooks/1/deliveries")
    assert (delivery["status_code"], delivery["redelivery"], delivery["event"]) == (500, False, "issues")
    assert len(receiver.hooks) == 1
    status, _ = await api("POST", f"/repos/{REPOSITORY}/hooks/1/deliveries/{delivery['id']}/attempts")
    await server.sent()

    assert status == 202
    first, again = receiver.hooks
    assert (first.guid, first.body) == (again.guid, again.body)


async def test_deliveries_can_be_lost_and_doubled(server: LocalGitHub, receiver: Receiver, api: Api) -> None:
    await api("POST", "/_local/faults", {"lose_deliveries": 1})
    lost = server.open_issue(REPOSITORY, "lost")
    await server.sent()
    await api("POST", "/_local/faults", {"double_deliveries": 1})
    doubled = server.open_issue(REPOSITORY, "doubled")
    await server.sent()

    assert receiver.about(lost) == []
    first, second = receiver.hooks
    assert first == second
    assert first.what == f"issues.opened#{doubled}"


async def test_a_receiver_that_does_not_answer_is_given_up(tmp_path: Path, receiver: Receiver) -> None:
    receiver.gate.clear()
    settings: dict[str, Any] = {"webhook_url": receiver.url, "secret": SECRET, "delivery_timeout": 0.1}
    async with local_github(tmp_path, **settings) as server:
        server.open_issue(REPOSITORY, "one")
        await server.sent()
        row = server.state.store.row("SELECT status, status_code FROM deliveries")
    receiver.gate.set()
    assert row is not None
    assert tuple(row) == ("timed out", 504)


async def test_faults_strike_over_the_admin_api(server: LocalGitHub, api: Api) -> None:
    path = f"/repos/{REPOSITORY}"
    await api("POST", "/_local/faults", {"kind": "status", "status": 502, "skip": 1, "path": "/repos"})
    statuses = [(await api("GET", path))[0] for _ in range(3)]
    await api("POST", "/_local/faults", {"kind": "secondary_limit", "times": 9})
    statuses.append((await api("GET", path))[0])
    await api("DELETE", "/_local/faults")
    statuses.append((await api("GET", path))[0])

    assert statuses == [200, 502, 200, 429, 200]


# Loaded files


async def test_what_gh_prints_is_loaded_and_delivered(
    server: LocalGitHub, receiver: Receiver, api: Api, tmp_path: Path
) -> None:
    issues = [
        {
            "number": 7,
            "title": "Seven",
            "body": "B",
            "labels": [{"name": "bug", "color": "red"}],
            "state": "OPEN",
        },
        {
            "number": 3,
            "title": "Three",
            "body": None,
            "author": {"login": "ada", "is_bot": False},
            "labels": [],
        },
        {"number": 4, "title": "Done", "state": "CLOSED", "createdAt": "2025-01-02T03:04:05Z"},
        {"number": 5, "title": "From a bot", "author": {"login": "app/renovate", "is_bot": True}},
        {"number": 3, "title": "Elsewhere", "url": "https://github.com/o/r/issues/3"},
    ]
    assert await server.load(write(tmp_path / "issues.json", issues)) == 5
    await server.sent()

    assert sorted(hook.what for hook in receiver.hooks) == [
        "issues.labeled#7", "issues.opened#3", "issues.opened#3", "issues.opened#5", "issues.opened#7",
    ]  # fmt: skip
    repositories = {hook.payload["repository"]["full_name"] for hook in receiver.hooks}
    assert repositories == {REPOSITORY, "o/r"}
    _, done = await api("GET", f"/repos/{REPOSITORY}/issues/4")
    assert (done["state"], done["created_at"]) == ("closed", "2025-01-02T03:04:05Z")
    for login, role in (("author", "write"), ("ada", "write")):
        _, answer = await api("GET", f"/repos/{REPOSITORY}/collaborators/{login}/permission")
        assert answer["permission"] == role
    bot = next(hook.payload["issue"]["user"] for hook in receiver.hooks if hook.what == "issues.opened#5")
    assert (bot["login"], bot["type"]) == ("renovate[bot]", "Bot")


async def test_the_same_file_changes_nothing_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    path = write(tmp_path / "issues.json", [{"number": 1, "title": "One", "labels": ["a"]}])
    settings: dict[str, Any] = {"webhook_url": receiver.url, "secret": SECRET}
    guids = []
    for data in ("data", "data", "other data"):
        async with local_github(tmp_path / data, **settings) as server:
            guids.append(await server.load(path))
            assert await server.load(path) == 0
            await server.sent()

    assert guids == [1, 0, 1]
    opened = [hook.guid for hook in receiver.hooks if hook.event == "issues"]
    assert len(opened) == 4
    assert opened[:2] == opened[2:]  # another process gives the same guids


async def test_webhook_deliveries_are_loaded_as_they_came(
    server: LocalGitHub, receiver: Receiver, api: Api, tmp_path: Path
) -> None:
    issue = {
        "number": 9,
        "title": "Nine",
        "user": {"login": "ada", "type": "User"},
        "labels": [],
        "state": "open",
    }
    repository = {"full_name": "o/r", "id": 5}
    opened = {"action": "opened", "issue": issue, "repository": repository, "extra": {"kept": True}}
    labeled = {
        **opened,
        "action": "labeled",
        "issue": {**issue, "labels": [{"name": "x"}]},
        "label": {"name": "x"},
    }
    comment = {**opened, "action": "created", "comment": {"body": "hi", "user": {"login": "eve"}}}
    lines = [
        "Forwarding Webhook events from GitHub...",
        json.dumps(
            {"headers": {"X-GitHub-Event": "issues", "X-GitHub-Delivery": "guid-1"}, "payload": opened}
        ),
        json.dumps({**labeled, "event": "issues", "delivery": "guid-2"}),
        json.dumps(comment),
        json.dumps(
            {"headers": {"x-github-event": ["issues"], "X-GitHub-Delivery": "guid-1"}, "payload": opened}
        ),
        json.dumps({"action": "opened", "issue": {"number": 2, "title": "No repository"}}),
    ]
    assert await server.load(write(tmp_path / "hooks.jsonl", "\n".join(lines))) == 5
    await server.sent()

    assert receiver.about(9) == [
        "issues.opened#9", "issues.labeled#9", "issue_comment.created#9", "issues.opened#9",
    ]  # fmt: skip
    nine = [hook for hook in receiver.hooks if hook.what.endswith("#9")]
    assert [hook.guid for hook in nine][:2] == ["guid-1", "guid-2"]
    assert nine[3].guid == "guid-1"
    assert nine[0].payload["extra"] == {"kept": True}
    assert nine[0].payload["repository"] == repository
    assert nine[0].payload["sender"]["login"] == "ada"
    [two] = [hook.payload for hook in receiver.hooks if hook.what == "issues.opened#2"]
    assert two["repository"]["full_name"] == REPOSITORY
    _, shape = await api("GET", "/repos/o/r/issues/9")
    assert (shape["comments"], shape["labels"]) == (1, [])
    _, answer = await api("GET", "/repos/o/r/collaborators/ada/permission")
    assert answer["permission"] == "write"
    assert await server.load(tmp_path / "hooks.jsonl") == 0


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("", 1, "neither a JSON array nor JSON lines"),
        ("number,title\n1,x", 1, "neither a JSON array nor JSON lines"),
        ('[\n{"number": 1, "title": "a"},\n{"number": 1, "title": "b"}\n]', 3, "stands here and in line 2"),
        ('[\n{"number": 1,\n "title": }]', 3, "no JSON"),
        ('[{"number": 1, "title": "a"} {"number": 2, "title": "b"}]', 1, "no JSON"),
        ('[{"number": 1, "title": "a"}', 1, "no JSON"),
        ('[\n\n"text"]', 3, "a JSON str stands where"),
        ('[\n{"title": "a"}]', 2, "number is None"),
        ('[\n{"number": true, "title": "a"}]', 2, "number is True"),
        ('[\n{"number": 5}]', 2, "issue 5 has no title"),
        ('{"issue": {"number": 1, "title": "a"}}\n{"issue": ', 2, "no JSON"),
        ('{"issue": {"number": 1, "title": "a"}}\n{"action": "x"}', 2, "names no event"),
        (
            '{"issue": {"number": 1, "title": "a"}, "repository": {"full_name": "../x"}}',
            1,
            "is no repository",
        ),
        ('\n{"headers": {"X-GitHub-Event": "issues"}, "payload": "{"}', 2, "`payload` is no JSON"),
        ('{"action": "x", "event": "issues\\nX-Evil: 1"}', 1, "the event is"),
        ('{"action": "x", "event": "push", "delivery": "' + "g" * 101 + '"}', 1, "the delivery id is"),
        ('\n{"headers": 1, "payload": {}}', 2, "must be objects"),
        ("[" * 100_000, 1, "no usable JSON"),
        ('[{"number": ' + "1" * 5000 + "}]", 1, "no usable JSON"),
    ],
)
async def test_a_broken_file_names_file_line_and_remedy(
    server: LocalGitHub, receiver: Receiver, tmp_path: Path, content: str, line: int, says: str
) -> None:
    path = write(tmp_path / "broken.json", content)

    with pytest.raises(IssueError) as error:
        await server.load(path)
    await server.sent()

    assert str(error.value).startswith(f"{path}:{line}: ")
    assert says in str(error.value)
    assert "Fix: " in str(error.value)
    assert receiver.hooks == []


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=9)
        | st.sampled_from(["issue", "o/r", "opened"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from("issue number title body labels name user author login repository".split())
                | st.sampled_from(
                    "full_name headers payload event action comment label url sender state".split()
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    ).map(lambda data: json.dumps(data).encode())
)
@settings(max_examples=400)
def test_whatever_a_file_holds_it_is_read_or_refused_with_a_remedy(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.json"
        path.write_bytes(content)
        try:
            loaded = read_file(path, REPOSITORY, "author")
        except IssueError as error:
            assert "Fix: " in str(error)
        else:
            assert not (loaded.issues and loaded.deliveries)


async def test_a_file_that_is_not_utf8_missing_or_huge_is_refused(
    server: LocalGitHub, tmp_path: Path
) -> None:
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'[\n{"number": 1, "title": "\xe9"}]')
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(65 * 1024 * 1024)

    for path, says in (
        (latin, "latin.json:2: the file is not UTF-8"),
        (huge, "larger than"),
        (tmp_path / "x", "read"),
    ):
        with pytest.raises(IssueError, match=says):
            await server.load(path)


async def test_texts_that_no_database_stores_are_cleaned(
    server: LocalGitHub, receiver: Receiver, tmp_path: Path
) -> None:
    content = r'[{"number": 1, "title": "a\u0000b\ud800c", "body": "\ud83d\ude80", "labels": ["x\u0000"]}]'
    await server.load(write(tmp_path / "odd.json", content))
    await server.sent()

    issue = receiver.hooks[0].payload["issue"]
    assert (issue["title"], issue["body"], issue["labels"][0]["name"]) == ("abc", "🚀", "x")


@pytest.mark.skipif(not REAL.exists(), reason="needs the real issues beside the checkout")
async def test_the_real_issues_are_loaded_and_each_is_delivered_once(
    server: LocalGitHub, receiver: Receiver
) -> None:
    assert await server.load(REAL) == 584
    await server.sent()

    numbers = [hook.payload["issue"]["number"] for hook in receiver.hooks]
    assert len(numbers) == len(set(numbers)) == 584


# Restarts


async def test_state_and_undelivered_webhooks_survive_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    settings: dict[str, Any] = {"webhook_url": receiver.url, "secret": SECRET, "delivery_concurrency": 1}
    receiver.gate.clear()
    async with local_github(tmp_path, **settings) as server:
        token = server.token()
        number = await pull_request(server, {"a.py": b"a"})
        server.merge(REPOSITORY, number, "maintainer")
    receiver.gate.set()
    receiver.hooks.clear()

    async with local_github(tmp_path, **settings) as server, aiohttp.ClientSession() as session:
        await server.sent()
        api = Api(server, session)
        status, pull = await api(
            "GET", f"/repos/{REPOSITORY}/pulls/{number}", headers={"Authorization": f"token {token}"}
        )
        assert (status, pull["merged"]) == (200, True)
        assert [entry["name"] for entry in await tree_of(api)] == ["README.md", "a.py"]
    assert receiver.about(number) == [f"pull_request.opened#{number}", f"pull_request.closed#{number}"]


async def test_a_second_server_on_the_folder_or_the_port_says_so(server: LocalGitHub, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="stop the other local GitHub"):
        async with local_github(tmp_path / "data"):
            pass
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
        async with local_github(tmp_path / "other", port=port):
            pass


def test_it_runs_alone_and_stops_on_a_signal(tmp_path: Path) -> None:
    issues = write(tmp_path / "issues.json", [{"number": 1, "title": "One"}])
    command = [sys.executable, "-m", "runner.localgithub", "--port", "0", "--data", str(tmp_path / "data")]
    command += ["--issues", str(issues), "--token-file", str(tmp_path / "token")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"1 new from {issues}\n"
        assert process.stdout.readline().startswith("The local GitHub listens on http://127.0.0.1:")
        assert (tmp_path / "token").stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        process.kill()
        process.communicate()


def test_alone_it_explains_what_is_missing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "runner.localgithub",
        "--data",
        str(tmp_path),
        "--webhook",
        "http://127.0.0.1:1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1
    assert (
        done.stderr == "--webhook without --secret-file. Fix: give the file with the secret for signatures\n"
    )


# The simulated maintainer


async def test_the_maintainer_closes_an_issue_after_an_agents_comment_and_only_once(
    server: LocalGitHub, receiver: Receiver, api: Api
) -> None:
    done, declined = (server.open_issue(REPOSITORY, title) for title in ("done", "declined"))
    reactions = [
        Reaction(done, "complete", "Works, thank you."),
        Reaction(declined, "not_planned", "We will not do this."),
        Reaction(99, "complete", "of a later file"),
    ]
    server.simulate_maintainer(reactions)
    server.comment(REPOSITORY, done, "me too", "stranger")
    await asyncio.sleep(0)
    assert (await api("GET", f"/repos/{REPOSITORY}/issues/{done}"))[1]["state"] == "open"

    for number in (done, declined, done):
        await api("POST", f"/repos/{REPOSITORY}/issues/{number}/comments", {"body": "I did it."})
    await server.sent()

    for number, reason in ((done, "completed"), (declined, "not_planned")):
        _, issue = await api("GET", f"/repos/{REPOSITORY}/issues/{number}")
        assert (issue["state"], issue["state_reason"], issue["closed_by"]["login"]) == (
            "closed",
            reason,
            "maintainer",
        )
    said = [
        hook.payload["comment"]["body"]
        for hook in receiver.hooks
        if hook.event == "issue_comment" and hook.payload["sender"]["login"] == "maintainer"
    ]
    assert sorted(said) == [
        "We will not do this.\n\n_(simulated maintainer: a script wrote this, no person)_",
        "Works, thank you.\n\n_(simulated maintainer: a script wrote this, no person)_",
    ]
    _, answer = await api("GET", f"/repos/{REPOSITORY}/collaborators/maintainer/permission")
    assert answer["permission"] == "write"


async def test_the_maintainer_relabels_at_once_also_what_is_loaded_later(
    server: LocalGitHub, receiver: Receiver, tmp_path: Path
) -> None:
    early = server.open_issue(REPOSITORY, "early", labels=["bug", "agent:secure-pro"])
    late = early + 1
    label = "agent:cloud-architect"
    server.simulate_maintainer([Reaction(n, "relabel", label=label) for n in (early, late)])
    await server.load(write(tmp_path / "late.json", [{"number": late, "title": "late"}]))
    await asyncio.sleep(0)
    await server.sent()

    assert receiver.about(late) == [f"issues.opened#{late}", f"issues.labeled#{late}"]
    last = [hook.payload for hook in receiver.hooks if hook.what == f"issues.labeled#{early}"][-1]
    assert [item["name"] for item in last["issue"]["labels"]] == ["bug", label]
    assert (last["label"]["name"], last["sender"]["login"]) == (label, "maintainer")


async def test_the_maintainer_does_not_repeat_itself_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        async with local_github(tmp_path) as server:
            if not server.state.store.rows("SELECT 1 FROM issues"):
                server.open_issue(REPOSITORY, "one")
            server.simulate_maintainer([Reaction(1, "complete", "Thanks.")])
            server.comment(REPOSITORY, 1, "I did it.", BOT)
            await asyncio.sleep(0)
            said = server.state.store.rows("SELECT 1 FROM comments WHERE author = 'maintainer'")
    assert len(said) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "no JSON"),
        ("{}", "no JSON array"),
        ('[{"number": 0, "action": "complete"}]', "entry 1: `number` is 0"),
        (
            '[{"number": 1, "action": "complete"}, {"number": 1, "action": "merge"}]',
            "entry 2: `action` is 'merge'",
        ),
        ('[{"number": 1, "action": "relabel"}]', "needs a `label`"),
        ('[{"number": 1, "action": "complete", "comment": 5}]', "must be texts"),
        ("[1]", "entry 1"),
    ],
)
def test_a_broken_script_of_the_maintainer_says_where(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(InputError, match="Fix: ") as error:
        load_reactions(write(tmp_path / "maintainer.json", content))
    assert says in str(error.value)


def test_the_sample_scripts_can_be_read() -> None:
    issues = json.loads((ROOT / "samples" / "issues.json").read_text("utf-8"))
    reactions = load_reactions(ROOT / "samples" / "maintainer.json")
    assert {reaction.number for reaction in reactions} <= {issue["number"] for issue in issues}


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(InputError, match="earthquake"):
        Fault("earthquake")  # type: ignore[arg-type]
