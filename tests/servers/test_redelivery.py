"""Webhooks of the App that failed: GitHub is asked to send them again, and for nothing else."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from errors import Unavailable
from runner.gateway.redeliver import MOST_ASKED, Redelivery
from runner.github import GitHub
from runner.github.app import AppTokens
from runner.localgithub import Fault, LocalGitHub
from tests.servers.github_fixtures import (
    APP_ID,
    REPOSITORY,
    Receiver,
    app_keys,
    client_of,
    local_github,
)
from tests.servers.system import CLOUD, open_system

APP: dict[str, Any] = {"app_id": APP_ID, "app_public_key": app_keys()[1]}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def server(tmp_path, receiver: Receiver) -> AsyncIterator[LocalGitHub]:
    async with local_github(tmp_path, webhook_url=receiver.url, **APP) as server:
        yield server


@pytest.fixture
async def github(server: LocalGitHub) -> AsyncIterator[GitHub]:
    async with client_of(server, tokens=AppTokens(APP_ID, app_keys()[0]), attempts=1) as client:
        yield client


async def failed(server: LocalGitHub, receiver: Receiver, status: int = 503) -> None:
    """An issue is opened whose webhook is answered so."""
    receiver.status = status
    server.open_issue(REPOSITORY, "Hello")
    await server.sent()


async def test_the_first_word_of_a_repository_that_nobody_named_is_not_lost(database, redis_server, tmp_path):
    app = {"GITHUB_APP_ID": APP_ID, "GITHUB_APP_PRIVATE_KEY": app_keys()[0]}
    async with open_system(database, redis_server, tmp_path, **APP) as system:
        await system.start_gateway(RECONCILE_SECONDS="1", **app)
        system.start_runners()
        system.github.faults.lose_deliveries = 1
        number = system.github.open_issue("octo/brand-new", CLOUD, author="alice")
        await system.until_state(number, "done")
        await system.until_idle()
        assert [mission["repository"] for mission in await system.missions()] == ["octo/brand-new"]


async def test_what_failed_is_sent_again_once_and_what_arrived_never(
    server: LocalGitHub, receiver: Receiver, github: GitHub
):
    await failed(server, receiver)
    await failed(server, receiver, status=202)
    redelivery = Redelivery()
    assert await redelivery.ask(github) == 1
    await server.sent()
    assert [hook.what for hook in receiver.hooks] == ["issues.opened#1", "issues.opened#2", "issues.opened#1"]
    assert await redelivery.ask(github) == 0


async def test_another_gateway_does_not_ask_again_for_what_has_arrived(
    server: LocalGitHub, receiver: Receiver, github: GitHub
):
    await failed(server, receiver)
    receiver.status = 202
    assert await Redelivery().ask(github) == 1
    await server.sent()
    assert await Redelivery().ask(github) == 0


async def test_what_fails_each_time_is_given_up_and_said_once(
    server: LocalGitHub, receiver: Receiver, github: GitHub, caplog: pytest.LogCaptureFixture
):
    await failed(server, receiver)
    redelivery = Redelivery()
    with caplog.at_level(logging.ERROR):
        asked = []
        for _ in range(MOST_ASKED + 2):
            asked.append(await redelivery.ask(github))
            await server.sent()
    assert asked == [1] * MOST_ASKED + [0, 0]
    [said] = caplog.messages
    assert receiver.hooks[0].guid in said
    assert "Invalid HTTP Response" in said


@pytest.mark.parametrize("status", [400, 403, 413])
async def test_what_was_refused_for_what_it_is_is_not_sent_again(
    server: LocalGitHub, receiver: Receiver, github: GitHub, status: int
):
    await failed(server, receiver, status)
    assert await Redelivery().ask(github) == 0


async def test_what_came_with_a_wrong_secret_is_sent_again(
    server: LocalGitHub, receiver: Receiver, github: GitHub
):
    await failed(server, receiver, status=401)
    assert await Redelivery().ask(github) == 1


async def test_the_next_look_begins_where_one_that_failed_began(
    server: LocalGitHub, receiver: Receiver, github: GitHub
):
    await failed(server, receiver)
    redelivery = Redelivery()
    server.faults.add(Fault("status", status=500, path="/app/hook"))
    with pytest.raises(Unavailable):
        await redelivery.ask(github)
    assert await redelivery.ask(github) == 1


async def test_one_that_github_will_not_send_again_holds_no_other_up(
    server: LocalGitHub, receiver: Receiver, github: GitHub
):
    await failed(server, receiver)
    await failed(server, receiver)
    redelivery = Redelivery()
    server.faults.add(Fault("status", status=404, path="/attempts"))
    assert await redelivery.ask(github) == 1
    await server.sent()
    assert [hook.what for hook in receiver.hooks][2:] == ["issues.opened#2"]


async def test_one_whose_answer_had_no_code_did_not_arrive(
    server: LocalGitHub, receiver: Receiver, github: GitHub
):
    await failed(server, receiver)
    server.state.store.run("UPDATE deliveries SET status = 'failed to connect to host', status_code = 0")
    assert await Redelivery().ask(github) == 1
