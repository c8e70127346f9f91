"""Effects on a GitHub that has a bad day: each happens once, later, or is shown to the operator with the reason."""

from __future__ import annotations

import pytest

from runner.localgithub.faults import Fault
from tests.servers.system import CLOUD, REPOSITORY, System, open_system


@pytest.fixture
async def system(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system:
        await system.start_gateway()
        system.start_runners()
        yield system


@pytest.mark.parametrize(
    "fault",
    [
        Fault("drop_after", method="POST", path="/comments"),  # made, but its answer is lost
        Fault("status", method="POST", path="/comments", status=502),
        Fault("garbage", method="POST", path="/comments"),
        Fault("secondary_limit", method="POST", path="/comments", seconds=1),
        Fault("rate_limit", seconds=1),
    ],
    ids=lambda fault: fault.kind,
)
async def test_a_bad_moment_of_github_costs_time_and_makes_no_second_comment(system: System, fault: Fault):
    system.github.faults.add(fault)
    numbers = [system.github.open_issue(REPOSITORY, f"{CLOUD} {n}", author="alice") for n in range(5)]
    for number in numbers:
        await system.until_state(number, "done")
    await system.until_idle()
    assert [len(await system.agent_comments(number)) for number in numbers] == [1] * 5
    assert system.github.doubled_effects() == 0


async def test_a_long_limit_is_kept_by_all_effects_and_counts_as_no_failed_try(system: System):
    fault = Fault("rate_limit", method="POST", path="/comments", seconds=3600, times=8)
    system.github.faults.add(fault)
    numbers = [system.github.open_issue(REPOSITORY, f"{CLOUD} {n}", author="alice") for n in range(8)]
    for number in numbers:
        await system.until_state(number, "done")
    await system.until(
        "SELECT count(*) = 8 FROM outbox WHERE kind = 'comment' AND not_before > now() + interval '50 minutes'"
    )
    rows = await system.gateway.fetch("SELECT attempts, error FROM outbox WHERE kind = 'comment'")
    assert all(row["attempts"] == 0 and "limit" in row["error"] for row in rows)
    assert fault.times >= 8 - 4, "only the calls that were under way when the limit came were made"


async def test_what_github_refuses_for_good_is_shown_and_holds_nothing_back(system: System):
    system.github.faults.add(Fault("status", method="POST", path="/comments", status=422))
    first = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await system.until("SELECT EXISTS (SELECT FROM outbox WHERE kind = 'comment' AND error IS NOT NULL)")
    second = system.github.open_issue(REPOSITORY, f"{CLOUD} again", author="alice")
    await system.until_state(second, "done")
    await system.until_idle()
    assert len(await system.agent_comments(first)) == 0
    assert len(await system.agent_comments(second)) == 1
    error = await system.gateway.fetchval(
        "SELECT error FROM outbox WHERE kind = 'comment' AND done_at IS NULL"
    )
    assert "422" in error
