"""What operators and signals do to a mission that is being worked, through a real gateway and runner."""

from __future__ import annotations

import asyncio

import pytest

from database.missions import Mission
from runner import operate
from runner.cli import main
from runner.local.embedded import free_port
from tests.servers.system import CLOUD, DOCS, REPOSITORY, System, open_system

AGENT = "cloud-architect"


class Hanging:
    """Work that never ends, as a model that does not answer; tells when it has begun."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def __call__(self, step: str, mission: Mission) -> None:
        if step == "recalled":
            self.began.set()
            await asyncio.Event().wait()


@pytest.fixture
async def system(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system:
        await system.start_gateway()
        yield system


async def test_what_is_not_finished_within_the_drain_is_given_back_and_worked_by_the_next_runner(
    system: System,
):
    hanging = Hanging()
    stop = system.start_runner(AGENT, hanging, LEASE_SECONDS="300", DRAIN_SECONDS="0.2")
    number = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await hanging.began.wait()
    stop.set()
    mission = await system.until_state(number, "queued")
    assert (mission["attempts"], mission["reason"]) == (0, "given back by its runner")

    system.start_runner(AGENT)
    await system.until_state(number, "done")  # long before its lease would have ended
    await system.until_idle()
    assert len(await system.agent_comments(number)) == 1


async def test_a_mission_in_work_is_cancelled_and_can_be_tried_again(system: System, capsys):
    hanging = Hanging()
    stop = system.start_runner(AGENT, hanging, LEASE_SECONDS="1")
    number = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await hanging.began.wait()
    gateway_url, name = system.database.url("gateway"), f"{REPOSITORY}#{number}"
    assert await operate.cancel(gateway_url, name, "olivia") == 0
    assert "its runner is told to stop" in capsys.readouterr().out
    mission = await system.until_state(number, "cancelled")
    assert mission["reason"] == "cancelled by olivia"
    await system.until_idle()
    assert await system.agent_comments(number) == []

    stop.set()
    system.start_runner(AGENT)
    assert await operate.retry(gateway_url, name, "olivia") == 0
    await system.until_state(number, "done")
    await system.until_idle()
    assert len(await system.agent_comments(number)) == 1


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_dashboard_whose_database_is_away_says_so_in_one_sentence(monkeypatch, capsys, form):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://gateway@127.0.0.1:{free_port()}/agents")
    assert main(["dashboard", *form]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("PostgreSQL does not answer (")
    assert told.err.endswith("); check DATABASE_URL and that it runs\n")


async def test_a_paused_agent_takes_nothing_while_others_work_and_goes_on_when_resumed(system: System):
    gateway_url = system.database.url("gateway")
    await operate.pause(gateway_url, f"agent:{AGENT}", "olivia", "too noisy")
    system.start_runners()
    paused = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    other = system.github.open_issue(REPOSITORY, DOCS, author="alice")
    await system.until_state(other, "done")
    assert (await system.mission(paused))["state"] == "queued"
    await operate.resume(gateway_url, f"agent:{AGENT}")
    await system.until_state(paused, "done")
