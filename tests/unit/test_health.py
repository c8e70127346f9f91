"""A process is healthy while its loops go round, and ready while what it needs is there."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from runner.health import STALLED_SECONDS, Health, serve


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def probes(clock):
    """Health, and a way to ask it over HTTP."""
    health = Health(clock)
    application = web.Application()
    application.add_routes(health.routes())
    async with serve(application, "127.0.0.1", 0) as port, aiohttp.ClientSession() as session:

        async def ask(path: str) -> tuple[int, dict[str, object]]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.json()

        yield health, ask, session, port


async def test_a_loop_that_stops_going_round_makes_the_process_unhealthy_though_it_lives(probes, clock):
    health, ask, *_ = probes
    health.beat("claim")
    health.beat("heartbeat")
    clock.now += STALLED_SECONDS
    health.beat("heartbeat")
    assert await ask("/health") == (200, {"healthy": True, "stalled": {}})
    clock.now += 1
    assert await ask("/health") == (503, {"healthy": False, "stalled": {"claim": STALLED_SECONDS + 1}})


async def test_a_loop_that_goes_round_again_is_healthy_again(probes, clock):
    health, ask, *_ = probes
    health.beat("claim")
    clock.now += STALLED_SECONDS + 1
    assert (await ask("/health"))[0] == 503
    health.beat("claim")
    assert (await ask("/health"))[0] == 200


async def test_a_loop_that_ended_on_purpose_is_not_missed(probes, clock):
    health, ask, *_ = probes
    health.beat("claim")
    health.ended("claim")
    clock.now += 10 * STALLED_SECONDS
    assert (await ask("/health"))[0] == 200


async def test_a_process_is_not_ready_before_its_start_is_finished(probes):
    health, ask, *_ = probes
    assert await ask("/ready") == (503, {"ready": False, "missing": {"start": "not finished"}})
    health.found("start")
    assert await ask("/ready") == (200, {"ready": True, "missing": {}})


async def test_ready_names_what_is_missing_and_only_what_is_required_makes_it_fail(probes):
    health, ask, *_ = probes
    health.found("start")
    health.missing("redis", "polling PostgreSQL instead", required=False)
    assert await ask("/ready") == (200, {"ready": True, "missing": {"redis": "polling PostgreSQL instead"}})
    health.missing("database", "ConnectionRefusedError")
    status, answer = await ask("/ready")
    assert status == 503
    assert answer["missing"] == {"database": "ConnectionRefusedError", "redis": "polling PostgreSQL instead"}
    health.found("database")
    health.found("redis")
    assert await ask("/ready") == (200, {"ready": True, "missing": {}})


async def test_metrics_are_in_prometheus_own_format(probes):
    health, _, session, port = probes
    Counter("missions", "Missions\nended.", ["agent"], registry=health.registry).labels('a"b\\c').inc(2)
    async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    (sample,) = (sample for sample in families["missions"].samples if sample.name == "missions_total")
    assert (sample.labels, sample.value) == ({"agent": 'a"b\\c'}, 2.0)
