"""The GitHub client against the local GitHub, over HTTP, on good days and bad ones."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web

from errors import ExecutionError, GitHubError, RateLimited, SettingsError, Unavailable
from runner.execute import Change
from runner.github import GitHub, marker
from runner.github.app import AppTokens, PlainToken
from runner.github.transport import GitHubSettings
from runner.localgithub import Fault, LocalGitHub
from runner.localgithub.people import new_token
from tests.servers.github_fixtures import (
    APP_ID,
    NOON,
    REPOSITORY,
    Clock,
    app_keys,
    client_of,
    local_github,
    serving,
)

MISSION = UUID("00000000-0000-4000-8000-000000000001")
MARKER = marker(MISSION, "result")
BRANCH = f"agents-cloud/engineer-master/{MISSION}"
BOT = "agents-cloud[bot]"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(tmp_path: Path, clock: Clock) -> AsyncIterator[LocalGitHub]:
    async with local_github(tmp_path, clock) as server:
        yield server


@pytest.fixture
async def github(server: LocalGitHub, clock: Clock) -> AsyncIterator[GitHub]:
    async with client_of(server, clock) as client:
        yield client


@pytest.fixture
def number(server: LocalGitHub) -> int:
    return server.open_issue(REPOSITORY, "The queue stalls", "It waits for ever.")


async def change_of(github: GitHub, files: dict[str, bytes | None] | None = None) -> Change:
    head = await github.head(REPOSITORY)
    files = {"fix.py": b"print('fixed')\n"} if files is None else files
    return Change(title="Fix the queue", body="It stalled.", base_sha=head.sha, files=files)


async def files_at(github: GitHub, ref: str, folder: Path) -> dict[str, bytes]:
    target = folder / "tree.tar.gz"
    await github.tarball(REPOSITORY, ref, target)
    with tarfile.open(target) as archive:
        members = [member for member in archive if member.isfile()]
        return {m.name.partition("/")[2]: (archive.extractfile(m) or io.BytesIO()).read() for m in members}


# Who may spend


async def test_only_people_with_write_access_may_spend(server: LocalGitHub, github: GitHub) -> None:
    for login, role in (
        ("ada", "admin"),
        ("max", "maintain"),
        ("wim", "write"),
        ("tim", "triage"),
        ("rea", "read"),
    ):
        server.grant(REPOSITORY, login, role)
    server.open_issue(REPOSITORY, "Hello", author="stranger")

    may = {
        login: await github.may_write(REPOSITORY, login)
        for login in ("ada", "max", "wim", "tim", "rea", "stranger", "nobody", "", BOT)
    }

    assert [login for login, yes in may.items() if yes] == ["ada", "max", "wim"]


async def test_the_person_who_put_a_label_on_an_issue_is_known(
    server: LocalGitHub, github: GitHub, number: int
) -> None:
    server.label(REPOSITORY, number, "agent:cloud-architect", "ada")
    await github.add_labels(REPOSITORY, number, ["seen"])

    events = await github.label_events(REPOSITORY, number)

    assert [(event.label, event.actor, event.by_bot) for event in events] == [
        ("agent:cloud-architect", "ada", False),
        ("seen", BOT, True),
    ]


# Issues, comments, labels


async def test_an_issue_and_its_labels_and_comments_can_be_read_and_changed(
    github: GitHub, number: int
) -> None:
    await github.add_labels(REPOSITORY, number, ["agent:secure-pro", "a/b ü"])
    await github.remove_label(REPOSITORY, number, "a/b ü")
    await github.remove_label(REPOSITORY, number, "never there")
    made = await github.comment(REPOSITORY, number, "Looking into it.")

    issue = await github.issue(REPOSITORY, number)
    comments = await github.comments(REPOSITORY, number)

    assert issue["title"] == "The queue stalls"
    assert [label["name"] for label in issue["labels"]] == ["agent:secure-pro"]
    assert comments == [made]
    assert (made.author, made.body) == (BOT, "Looking into it.")


async def test_the_reconcile_pass_sees_open_issues_since_a_time_but_no_pull_requests(
    server: LocalGitHub, github: GitHub, clock: Clock
) -> None:
    server.open_issue(REPOSITORY, "old")
    clock.now += 100
    since = datetime.fromtimestamp(clock.now, UTC)
    recent = [server.open_issue(REPOSITORY, f"new {i}") for i in range(120)]
    server.close(REPOSITORY, recent[0], "completed", "ada")
    await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, await change_of(github))

    found = await github.open_issues(REPOSITORY, since)

    assert [issue["number"] for issue in found] == recent[1:]
    assert found[0]["user"]["login"] == "author"


async def test_the_events_of_a_repository_since_a_time_come_oldest_first_over_as_few_pages_as_hold_them(
    server: LocalGitHub, github: GitHub, clock: Clock, number: int
) -> None:
    for i in range(150):
        server.label(REPOSITORY, number, f"old {i}", "ada")
    clock.now += 100
    since = datetime.fromtimestamp(clock.now, UTC)
    for i in range(120):
        server.label(REPOSITORY, number, f"new {i}", "ada")
    server.close(REPOSITORY, number, "completed", "some[bot]")

    server.faults.add(Fault("status", path="/issues/events", skip=2, status=422))
    events = await github.repository_events(REPOSITORY, since)

    assert [event.label for event in events] == [*(f"new {i}" for i in range(120)), ""]
    assert (events[-1].kind, events[-1].actor["type"], events[-1].issue["state"]) == (
        "closed",
        "Bot",
        "closed",
    )
    assert events[0].at == since


async def test_a_hundred_and_fifty_comments_come_in_pages(
    server: LocalGitHub, github: GitHub, number: int
) -> None:
    for i in range(150):
        server.comment(REPOSITORY, number, f"comment {i}", "ada")

    comments = await github.comments(REPOSITORY, number)

    assert [comment.body for comment in comments] == [f"comment {i}" for i in range(150)]


# Effects happen once


async def test_a_comment_is_made_once_however_often_it_is_ensured(github: GitHub, number: int) -> None:
    urls = {await github.ensure_comment(REPOSITORY, number, MARKER, "Done.") for _ in range(3)}

    [comment] = await github.comments(REPOSITORY, number)
    assert urls == {comment.url}
    assert comment.body == f"Done.\n\n{MARKER}"


async def test_a_comment_whose_answer_was_lost_is_not_made_again(
    server: LocalGitHub, github: GitHub, number: int
) -> None:
    server.faults.add(Fault("drop_after", method="POST", path="/comments"))
    with pytest.raises(Unavailable):
        await github.ensure_comment(REPOSITORY, number, MARKER, "Done.")

    url = await github.ensure_comment(REPOSITORY, number, MARKER, "Done.")

    [comment] = await github.comments(REPOSITORY, number)
    assert comment.url == url


async def test_a_stranger_cannot_suppress_a_comment_by_copying_its_marker(
    server: LocalGitHub, github: GitHub, number: int
) -> None:
    server.comment(REPOSITORY, number, f"me first {MARKER}", "stranger")

    await github.ensure_comment(REPOSITORY, number, MARKER, "Done.")

    assert [comment.author for comment in await github.comments(REPOSITORY, number)] == ["stranger", BOT]


async def test_an_installation_token_used_as_a_plain_one_makes_a_comment_once(
    server: LocalGitHub, clock: Clock, number: int
) -> None:
    owner = REPOSITORY.partition("/")[0]
    token = new_token(
        server.state, BOT, owner=owner
    )  # as GITHUB_TOKEN in a workflow: GitHub tells it no login
    server.comment(REPOSITORY, number, f"me first {MARKER}", "stranger")
    async with client_of(server, clock, PlainToken(token)) as github:
        for _ in range(2):
            await github.ensure_comment(REPOSITORY, number, MARKER, "Done.")
        assert await github.login() == ""
        assert [comment.author for comment in await github.comments(REPOSITORY, number)] == ["stranger", BOT]


async def test_a_comment_that_is_too_long_is_shortened_and_keeps_its_marker(
    github: GitHub, number: int
) -> None:
    for _ in range(2):
        await github.ensure_comment(REPOSITORY, number, MARKER, "long " * 20_000)

    [comment] = await github.comments(REPOSITORY, number)
    assert len(comment.body) == 65_536
    assert comment.body.endswith(f"… (shortened)\n\n{MARKER}")


async def test_a_change_becomes_a_branch_and_one_pull_request(
    server: LocalGitHub, github: GitHub, tmp_path: Path
) -> None:
    change = await change_of(github, {"src/a.py": b"a = 1\n", "logo.png": b"\x89PNG\xff", "README.md": None})

    first = await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)
    second = await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)

    assert first == second
    pull = await github.pull_request(REPOSITORY, first[0])
    assert (pull.state, pull.merged, pull.branch) == ("open", False, BRANCH)
    assert pull.body == f"It stalled.\n\n{MARKER}"
    assert await files_at(github, BRANCH, tmp_path) == {"src/a.py": b"a = 1\n", "logo.png": b"\x89PNG\xff"}
    assert (await files_at(github, "main", tmp_path)).keys() == {"README.md"}


EFFECT_CALLS = ("/git/commits", "/git/trees", "/git/refs", "/pulls")


@pytest.mark.parametrize("kind", ["drop", "drop_after", "status"])
@pytest.mark.parametrize("path", EFFECT_CALLS)
async def test_a_crash_at_any_call_leaves_one_branch_and_one_pull_request(
    server: LocalGitHub, github: GitHub, path: str, kind: str
) -> None:
    change = await change_of(github)
    server.faults.add(Fault(kind, method="POST", path=path, times=4))  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)
    server.faults.clear()

    number, _ = await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)

    pulls = [issue async for issue in github._pages(REPOSITORY, "/pulls", {"state": "all"})]
    assert [pull["number"] for pull in pulls] == [number]
    commits = await github.commits(REPOSITORY, BRANCH, 10)
    assert [message.splitlines()[0] for _, message in commits] == ["Fix the queue", "First commit"]


async def test_a_branch_without_its_commit_is_taken_up(github: GitHub) -> None:
    change = await change_of(github)
    await github.create_branch(REPOSITORY, BRANCH, change.base_sha)

    number, _ = await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)

    assert (await github.pull_request(REPOSITORY, number)).branch == BRANCH
    assert await github.branch_sha(REPOSITORY, BRANCH) != change.base_sha


async def test_a_branch_with_somebody_elses_work_is_left_alone(github: GitHub) -> None:
    change = await change_of(github)
    theirs = await github.commit(REPOSITORY, change.base_sha, {"theirs.py": b""}, "Mine, all mine")
    await github.create_branch(REPOSITORY, BRANCH, theirs)

    with pytest.raises(GitHubError, match="work of somebody else"):
        await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)

    assert await github.branch_sha(REPOSITORY, BRANCH) == theirs
    assert await github.pull_request_of(REPOSITORY, BRANCH) is None


async def test_two_relays_at_once_make_one_pull_request(server: LocalGitHub, github: GitHub) -> None:
    change = await change_of(github)
    async with client_of(server) as other:
        results = await asyncio.gather(
            *(c.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change) for c in (github, other))
        )

    assert len(set(results)) == 1


async def test_a_merged_pull_request_is_not_opened_again_after_its_branch_is_gone(
    server: LocalGitHub, github: GitHub
) -> None:
    change = await change_of(github)
    number, _ = await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)
    sha = server.merge(REPOSITORY, number, "maintainer")
    await github._send("DELETE", REPOSITORY, f"/git/refs/heads/{BRANCH}")

    again, _ = await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)

    pull = await github.pull_request(REPOSITORY, again)
    assert (again, pull.merged, pull.merge_sha) == (number, True, sha)


@pytest.mark.parametrize("files", [{}, {"absent.py": None}, {"README.md": b"# local/repository\n"}])
async def test_a_change_that_changes_nothing_makes_no_branch(
    github: GitHub, files: dict[str, bytes | None]
) -> None:
    with pytest.raises(ExecutionError, match="leaves every file as it is"):
        await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, await change_of(github, files))

    assert await github.branch_sha(REPOSITORY, BRANCH) is None


async def test_a_script_keeps_its_run_bit_when_it_is_changed(github: GitHub, tmp_path: Path) -> None:
    head = await github.head(REPOSITORY)
    base = await github._get(REPOSITORY, f"/git/commits/{head.sha}")
    entry = {"path": "run.sh", "mode": "100755", "type": "blob", "content": "#!/bin/sh\n"}
    body = {"base_tree": base["tree"]["sha"], "tree": [entry]}
    tree = await github._send("POST", REPOSITORY, "/git/trees", body)
    body = {"message": "Add a script", "tree": tree["sha"], "parents": [head.sha]}
    commit = await github._send("POST", REPOSITORY, "/git/commits", body)
    await github.move_branch(REPOSITORY, "main", commit["sha"])

    change = await change_of(github, {"run.sh": b"#!/bin/sh\nexit 0\n"})
    await github.ensure_pull_request(REPOSITORY, MARKER, BRANCH, change)

    await github.tarball(REPOSITORY, BRANCH, tmp_path / "t.tar.gz")
    with tarfile.open(tmp_path / "t.tar.gz") as archive:
        [script] = [member for member in archive if member.name.endswith("run.sh")]
    assert script.mode == 0o755


# Contents


async def test_a_tarball_over_the_limit_leaves_no_file(github: GitHub, tmp_path: Path) -> None:
    target = tmp_path / "tree.tar.gz"

    with pytest.raises(GitHubError, match="larger than 10 bytes"):
        await github.tarball(REPOSITORY, "main", target, max_bytes=10)

    assert not target.exists()


async def test_a_tarball_that_breaks_off_leaves_no_file(
    server: LocalGitHub, github: GitHub, tmp_path: Path
) -> None:
    server.faults.add(
        Fault("drop", path="/_codeload/", times=2)
    )  # aiohttp itself tries a kept connection twice
    with pytest.raises(Unavailable):
        await github.tarball(REPOSITORY, "main", tmp_path / "tree.tar.gz")
    server.faults.clear()
    server.faults.add(Fault("rate_limit", path="/tarball/", seconds=5000))
    with pytest.raises(RateLimited):
        await github.tarball(REPOSITORY, "main", tmp_path / "tree.tar.gz")

    assert not (tmp_path / "tree.tar.gz").exists()


async def test_the_token_does_not_follow_a_redirect_to_another_host(tmp_path: Path) -> None:
    seen: dict[str, str | None] = {}
    app = web.Application()

    async def redirect(request: web.Request) -> web.Response:
        seen["api"] = request.headers.get("Authorization")
        port = request.url.port
        return web.Response(status=302, headers={"Location": f"http://localhost:{port}/codeload"})

    async def codeload(request: web.Request) -> web.Response:
        seen["codeload"] = request.headers.get("Authorization")
        return web.Response(body=b"archive")

    app.add_routes([web.get("/repos/{tail:.*}", redirect), web.get("/codeload", codeload)])
    async with serving(app) as url, GitHub(PlainToken("t0ken"), GitHubSettings(base_url=url)) as github:
        await github.tarball(REPOSITORY, "main", tmp_path / "archive")

    assert seen == {"api": "Bearer t0ken", "codeload": None}


@pytest.mark.parametrize("name", ["../../app", "a/b/c", "local", "local/..", "local/x?y=1", "a b/c", ""])
async def test_a_name_that_is_no_repository_never_becomes_a_path(github: GitHub, name: str) -> None:
    with pytest.raises(GitHubError, match="is no repository"):
        await github.issue(name, 1)


# Workflows


WORKFLOW = b"""
name: Agent
run-name: Mission ${{ inputs.mission }}
on:
  workflow_dispatch:
    inputs:
      mission: {required: true}
"""


async def test_a_dispatched_run_is_found_by_its_mission(
    server: LocalGitHub, github: GitHub, clock: Clock
) -> None:
    since = datetime.fromtimestamp(clock.now, UTC)
    head = await github.head(REPOSITORY)
    sha = await github.commit(
        REPOSITORY, head.sha, {".github/workflows/agent.yml": WORKFLOW}, "Add a workflow"
    )
    await github.move_branch(REPOSITORY, "main", sha)
    assert await github.find_run(REPOSITORY, "agent.yml", str(MISSION), since) is None
    await github.dispatch(REPOSITORY, "agent.yml", "main", {"mission": "another"})
    await github.dispatch(REPOSITORY, "agent.yml", "main", {"mission": str(MISSION)})

    run = await github.find_run(REPOSITORY, "agent.yml", str(MISSION), since)

    assert run is not None
    assert (run.title, run.status, run.conclusion) == (f"Mission {MISSION}", "queued", None)
    server.finish_run(REPOSITORY, run.id, "failure")
    assert (await github.run(REPOSITORY, run.id)).conclusion == "failure"


@pytest.mark.parametrize(
    ("workflow", "inputs", "status"),
    [("absent.yml", {}, 404), ("agent.yml", {}, 422), ("agent.yml", {"mission": "1", "x": "2"}, 422)],
)
async def test_a_dispatch_that_github_would_refuse_is_refused(
    github: GitHub, workflow: str, inputs: dict[str, str], status: int
) -> None:
    head = await github.head(REPOSITORY)
    sha = await github.commit(
        REPOSITORY, head.sha, {".github/workflows/agent.yml": WORKFLOW}, "Add a workflow"
    )
    await github.move_branch(REPOSITORY, "main", sha)

    with pytest.raises(GitHubError) as refused:
        await github.dispatch(REPOSITORY, workflow, "main", inputs)

    assert refused.value.status == status


# Bad days


async def test_a_server_error_is_retried_where_that_is_harmless(
    server: LocalGitHub, github: GitHub, number: int, clock: Clock
) -> None:
    server.faults.add(Fault("status", status=502, times=2))
    server.faults.add(Fault("drop", times=2))  # aiohttp itself tries a kept connection twice

    assert (await github.issue(REPOSITORY, number))["number"] == number
    assert len(clock.slept) == 3
    assert 0.25 <= clock.slept[0] <= 0.5 <= clock.slept[1] <= 1.0 <= clock.slept[2] <= 2.0


async def test_retries_end(server: LocalGitHub, github: GitHub, number: int, clock: Clock) -> None:
    server.faults.add(Fault("status", status=503, times=100))

    with pytest.raises(Unavailable, match="answer 503"):
        await github.issue(REPOSITORY, number)

    assert len(clock.slept) == 3


async def test_a_comment_is_never_posted_twice_by_a_retry(
    server: LocalGitHub, github: GitHub, number: int
) -> None:
    server.faults.add(Fault("garbage", method="POST", path="/comments"))

    with pytest.raises(Unavailable, match="no JSON"):
        await github.comment(REPOSITORY, number, "once")

    assert len(await github.comments(REPOSITORY, number)) == 1


async def test_nobody_listening_is_unavailable() -> None:
    clock = Clock()
    limits = GitHubSettings(base_url="http://127.0.0.1:1")
    async with GitHub(PlainToken("t0ken"), limits, clock=clock, sleep=clock.sleep) as github:
        with pytest.raises(Unavailable):
            await github.comment(REPOSITORY, 1, "hello")
    assert len(clock.slept) == 3  # the call never left, so even a comment may be tried again


async def test_an_answer_that_never_comes_ends_after_the_time_out(server: LocalGitHub, number: int) -> None:
    server.faults.add(Fault("hang", times=10, seconds=30))
    async with client_of(server, timeout=0.1, attempts=2) as github:
        with pytest.raises(Unavailable):
            await github.issue(REPOSITORY, number)


async def test_an_oversized_answer_is_refused(server: LocalGitHub, number: int) -> None:
    server.faults.add(Fault("oversized", seconds=1))
    async with client_of(server, max_bytes=100_000) as github:
        with pytest.raises(GitHubError, match="larger than 100000 bytes"):
            await github.issue(REPOSITORY, number)


async def test_an_answer_of_another_shape_is_githubs_error(clock: Clock) -> None:
    app = web.Application()
    app.add_routes([web.get("/repos/{tail:.*}", _list_of_nothing)])
    async with serving(app) as url, GitHub(PlainToken("t"), GitHubSettings(base_url=url)) as github:
        with pytest.raises(GitHubError, match="unknown shape"):
            await github.pull_request(REPOSITORY, 1)


async def _list_of_nothing(_: web.Request) -> web.Response:
    return web.json_response([None])


async def test_a_next_page_on_another_host_is_not_followed() -> None:
    app = web.Application()

    async def comments(_: web.Request) -> web.Response:
        link = '<http://127.0.0.2:9/comments?page=2>; rel="next"'
        return web.json_response([], headers={"Link": link})

    app.add_routes([web.get("/repos/{tail:.*}", comments)])
    async with serving(app) as url, GitHub(PlainToken("t"), GitHubSettings(base_url=url)) as github:
        with pytest.raises(GitHubError, match="another host"):
            await github.comments(REPOSITORY, 1)


async def test_an_error_never_shows_the_token(server: LocalGitHub) -> None:
    app = web.Application()

    async def echo(request: web.Request) -> web.Response:
        return web.json_response(
            {"message": f"bad header {request.headers['Authorization']}\n\x1b[31m"}, status=400
        )

    app.add_routes([web.get("/repos/{tail:.*}", echo)])
    tokens = PlainToken("s3cret-token")
    async with serving(app) as url, GitHub(tokens, GitHubSettings(base_url=url)) as github:
        with pytest.raises(GitHubError) as error:
            await github.issue(REPOSITORY, 1)

    assert str(error.value) == "GitHub answered 400: bad header Bearer *** [31m"
    assert "s3cret-token" not in repr(tokens)


async def test_a_wrong_token_is_refused_at_once(server: LocalGitHub, clock: Clock, number: int) -> None:
    async with client_of(server, clock, PlainToken("wrong")) as github:
        with pytest.raises(GitHubError) as error:
            await github.issue(REPOSITORY, number)
    assert error.value.status == 401
    assert clock.slept == []


@pytest.mark.parametrize(
    "url", ["http://api.github.com", "ftp://127.0.0.1", "api.github.com", "http://10.0.0.1"]
)
def test_an_address_that_would_show_the_token_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="in clear"):
        GitHubSettings(base_url=url)


# Rate limits


async def test_a_short_limit_is_waited_for(
    server: LocalGitHub, github: GitHub, number: int, clock: Clock
) -> None:
    server.faults.add(Fault("rate_limit", seconds=20))

    await github.comment(REPOSITORY, number, "after the limit")

    assert len(await github.comments(REPOSITORY, number)) == 1
    assert 20 <= sum(clock.slept) < 23


async def test_a_long_limit_says_until_when_and_makes_no_more_calls(
    server: LocalGitHub, github: GitHub, number: int, clock: Clock
) -> None:
    server.faults.add(Fault("rate_limit", seconds=1800))

    with pytest.raises(RateLimited) as limited:
        await github.comment(REPOSITORY, number, "too early")
    with pytest.raises(RateLimited):  # this one without a call: the fault is used up, GitHub would take it
        await github.issue(REPOSITORY, number)

    assert limited.value.retry_at == datetime.fromtimestamp(NOON + 1800, UTC)
    assert github.retry_at(REPOSITORY) == limited.value.retry_at
    clock.now += 1801
    assert github.retry_at(REPOSITORY) is None
    assert await github.comments(REPOSITORY, number) == []


async def test_a_secondary_limit_is_obeyed(
    server: LocalGitHub, github: GitHub, number: int, clock: Clock
) -> None:
    server.faults.add(Fault("secondary_limit", seconds=30))

    await github.comment(REPOSITORY, number, "slowly")

    assert 30 <= sum(clock.slept) < 34


async def test_a_limit_that_comes_again_and_again_ends_as_rate_limited(
    server: LocalGitHub, github: GitHub, number: int, clock: Clock
) -> None:
    server.faults.add(Fault("secondary_limit", seconds=10, times=100))

    with pytest.raises(RateLimited):
        await github.issue(REPOSITORY, number)

    assert len(clock.slept) == 3


async def test_the_budget_of_the_hour_is_kept_to_the_last_call(tmp_path: Path, clock: Clock) -> None:
    async with local_github(tmp_path, clock, rate_limit=3) as server, client_of(server, clock) as github:
        number = server.open_issue(REPOSITORY, "Hello")
        for _ in range(3):
            await github.issue(REPOSITORY, number)

        with pytest.raises(RateLimited) as limited:  # the third answer said that none remain
            await github.issue(REPOSITORY, number)

        assert limited.value.retry_at == datetime.fromtimestamp(NOON + 3600, UTC)
        clock.now += 3600
        await github.issue(REPOSITORY, number)


async def test_missing_permission_is_no_rate_limit(server: LocalGitHub, number: int, clock: Clock) -> None:
    token = server.token("stranger")
    async with client_of(server, clock, PlainToken(token)) as github:
        with pytest.raises(GitHubError) as error:
            await github.add_labels(REPOSITORY, number, ["mine"])
    assert error.value.status == 403
    assert clock.slept == []


# Apps


@pytest.fixture
async def app_server(tmp_path: Path, clock: Clock) -> AsyncIterator[LocalGitHub]:
    async with local_github(tmp_path, clock, app_id=APP_ID, app_public_key=app_keys()[1]) as server:
        yield server


def app_tokens(clock: Clock) -> AppTokens:
    return AppTokens(APP_ID, app_keys()[0], clock=clock)


def tokens_issued(server: LocalGitHub) -> int:
    return len(server.state.store.rows("SELECT 1 FROM tokens WHERE owner IS NOT NULL"))


async def test_an_app_works_with_one_token_an_owner_until_it_nears_its_end(
    app_server: LocalGitHub, clock: Clock
) -> None:
    other = "elsewhere/thing"
    number = app_server.open_issue(REPOSITORY, "Hello")
    app_server.open_issue(other, "Hello")
    async with client_of(app_server, clock, app_tokens(clock)) as github:
        await asyncio.gather(*(github.issue(REPOSITORY, number) for _ in range(5)))
        assert tokens_issued(app_server) == 1
        await github.issue(other, 1)
        assert tokens_issued(app_server) == 2

        clock.now += 3600 - 299
        await github.ensure_comment(REPOSITORY, number, MARKER, "Done.")
        await github.ensure_comment(REPOSITORY, number, MARKER, "Done.")

        assert tokens_issued(app_server) == 3
        [comment] = await github.comments(REPOSITORY, number)
        assert comment.author == BOT


async def test_a_token_that_github_revoked_is_renewed_once(app_server: LocalGitHub, clock: Clock) -> None:
    number = app_server.open_issue(REPOSITORY, "Hello")
    async with client_of(app_server, clock, app_tokens(clock)) as github:
        await github.issue(REPOSITORY, number)
        app_server.state.store.run("DELETE FROM tokens WHERE owner IS NOT NULL")
        assert (await github.issue(REPOSITORY, number))["number"] == number

        app_server.faults.add(Fault("status", status=401, path="/issues", times=2))
        with pytest.raises(GitHubError) as error:
            await github.issue(REPOSITORY, number)
        assert error.value.status == 401


async def test_an_app_that_is_not_installed_says_so(app_server: LocalGitHub, clock: Clock) -> None:
    async with client_of(app_server, clock, app_tokens(clock)) as github:
        with pytest.raises(GitHubError) as error:
            await github.issue("unknown/repository", 1)
    assert error.value.status == 404


def test_a_key_that_cannot_sign_is_found_at_the_start() -> None:
    with pytest.raises(SettingsError, match="cannot sign") as error:
        AppTokens("77", "no key at all")
    assert "no key at all" not in str(error.value)


# Webhook deliveries


async def test_a_delivery_that_failed_is_listed_and_sent_again(app_server: LocalGitHub, clock: Clock) -> None:
    app_server.deliver_to("http://127.0.0.1:1/webhook", "secret")
    app_server.open_issue(REPOSITORY, "Hello")
    await app_server.sent()
    since = datetime.fromtimestamp(NOON, UTC)
    async with client_of(app_server, clock, app_tokens(clock)) as github:
        [failed] = await github.deliveries(since)
        assert (failed.event, failed.action, failed.status_code) == ("issues", "opened", 502)

        await github.redeliver(failed.id)
        await app_server.sent()

        again, first = await github.deliveries(since)
        assert (again.guid, first) == (failed.guid, failed)
        assert await github.deliveries(datetime.fromtimestamp(NOON + 1, UTC)) == []
        with pytest.raises(GitHubError):
            await github.redeliver(4711)


async def test_only_an_app_sees_what_became_of_its_webhooks(app_server: LocalGitHub, clock: Clock) -> None:
    app_server.deliver_to("http://127.0.0.1:1/webhook", "secret")
    app_server.open_issue(REPOSITORY, "Hello")
    await app_server.sent()
    async with client_of(app_server, clock) as github:
        assert await github.deliveries(datetime.fromtimestamp(NOON, UTC)) == []
