"""One gateway from start to stop: a stop may come at any moment, and what it learns follows what is proven."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from errors import DefinitionError
from runner.gateway import Gateway, run_gateway
from runner.gateway.matchers import Matchers
from runner.geography import local_geography
from runner.health import Health
from runner.local.embedded import free_port
from runner.process import _tell_presence
from runner.settings import GatewaySettings, RunnerSettings
from tests.servers.conftest import write_definitions
from tests.servers.memories import remember
from tests.servers.system import AGENTS, SECRET
from tests.unit.matching import FEW

TITLE = "Rotate the signing keys of the mail relay"


@pytest.fixture
def variables(database, redis_server, tmp_path) -> dict[str, str]:
    return {
        "AGENTS_DIR": str(write_definitions(tmp_path / "agents", AGENTS)),
        "DATABASE_URL": database.url("gateway"),
        "REDIS_URL": redis_server.url,
        "PORT": "0",
        "WEBHOOK_SECRET": SECRET,
        "EMBEDDING_MODEL": "none",
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "GITHUB_TOKEN": "of-the-tests",
    }


async def opened_gateway(settings: GatewaySettings, stop: asyncio.Event) -> asyncio.Task[None]:
    """A gateway whose port is open and whose start is not over."""
    opened = asyncio.Event()
    gateway = asyncio.create_task(run_gateway(settings, stop, lambda _: opened.set()))
    await opened.wait()
    return gateway


async def test_a_stop_at_any_moment_of_the_start_ends_the_gateway(variables):
    settings = GatewaySettings.from_environment(variables)
    for turns in (
        0,
        1,
        2,
        3,
        5,
        8,
        13,
        21,
        34,
        55,
        89,
        144,
        233,
    ):  # of the event loop, after the port is open
        stop = asyncio.Event()
        gateway = await opened_gateway(settings, stop)
        for _ in range(turns):
            await asyncio.sleep(0)
        stop.set()
        done, _ = await asyncio.wait([gateway], timeout=100)
        assert done, f"stopped after {turns} turns, it still runs"
        gateway.result()


async def test_a_gateway_that_waits_for_its_database_can_be_stopped(variables):
    away = f"postgresql://gateway@127.0.0.1:{free_port()}/agents"
    settings = GatewaySettings.from_environment({**variables, "DATABASE_URL": away, "DAY_CAP_USD": "5"})
    stop = asyncio.Event()
    gateway = await opened_gateway(settings, stop)
    stop.set()
    await asyncio.wait_for(gateway, 100)


@pytest.mark.parametrize("turns", range(6))
async def test_a_stop_that_comes_together_with_a_wake_up_is_not_lost(turns):
    nothing = cast(Any, None)
    gateway = Gateway(nothing, nothing, nothing, Health(), nothing, nothing, nothing, ())
    asked, wake = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        asked.set()

    loop = asyncio.create_task(gateway._loop("test", work, 60.0, wake))
    await asked.wait()
    await asyncio.sleep(0)
    wake.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    loop.cancel()
    done, _ = await asyncio.wait([loop], timeout=100)
    assert done, "the loop lost its cancellation"


async def swallow(begun: asyncio.Event) -> None:
    """What redis-py does with a cancellation that comes in the wrong moment."""
    begun.set()
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def test_a_loop_of_the_gateway_ends_though_a_library_swallowed_its_cancellation():
    nothing, begun = cast(Any, None), asyncio.Event()
    gateway = Gateway(nothing, nothing, nothing, Health(), nothing, nothing, nothing, ())
    loop = asyncio.create_task(gateway._loop("test", partial(swallow, begun), 3600.0))
    await begun.wait()
    loop.cancel()
    done, _ = await asyncio.wait([loop], timeout=100)
    assert done


async def test_a_runner_stops_telling_that_it_lives_though_a_library_swallowed_the_cancellation(variables):
    begun = asyncio.Event()
    client = cast(Any, SimpleNamespace(set=lambda *_, **__: swallow(begun)))
    settings = RunnerSettings.from_environment({**variables, "AGENT_NAME": "cloud-architect"})
    telling = asyncio.create_task(_tell_presence(client, settings, Health(), 8080))
    await begun.wait()
    telling.cancel()
    done, _ = await asyncio.wait([telling], timeout=100)
    assert done


async def test_a_gateway_refuses_a_definition_that_swallows_the_others(variables, tmp_path):
    everything = (
        "everything-master",
        "Cloud, infrastructure, security, tests, documentation, performance, refactoring, integrations, APIs,"
        " workflows, automation, research, user interfaces, AI, monitoring, data and coaching",
    )
    folder = write_definitions(tmp_path / "broad", [*AGENTS, everything])
    settings = GatewaySettings.from_environment({**variables, "AGENTS_DIR": str(folder)})
    with pytest.raises(DefinitionError, match="'everything-master' swallows"):
        await run_gateway(settings, asyncio.Event())


class CountedMatchers(Matchers):
    """Counts how often it is taught."""

    taught = 0

    def learn(self, history):
        super().learn(history)
        self.taught += 1


async def test_a_gateway_learns_anew_when_successes_changed_and_not_when_nothing_did(database):
    await database.register(*(agent.name for agent in FEW))
    matchers = CountedMatchers(FEW, local_geography(FEW))
    async with database.pool("gateway") as pool, database.connect("postgres") as superuser:
        settings, intake = cast(Any, None), cast(Any, type("Intake", (), {"matchers": matchers}))
        gateway = Gateway(settings, pool, intake, Health(), None, cast(Any, None), None, ())
        first = await remember(pool, "document-ninja", TITLE, number=1)

        async def learn() -> int:
            gateway._learn_after = 0.0
            await gateway._learn()
            return matchers.taught

        started = matchers.taught
        assert await learn() == started + 1
        assert await learn() == started + 1
        # As many successes as before, but another one: a count alone would not notice.
        await superuser.execute("UPDATE agent_memories SET state = 'failed' WHERE id = $1", first)
        await remember(pool, "secure-ninja", TITLE, number=2)
        assert await learn() == started + 2

        await remember(pool, "secure-ninja", f"{TITLE} again", number=3)
        gateway._learn_after = float("inf")
        await gateway._learn()
        assert matchers.taught == started + 2, "it rests after it has learnt"
