"""Groups, trends and the learning curve say what the figures bear out, and no more."""

from __future__ import annotations

import json
import math
import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.memory.ours import past_outcome
from database.connect import Pool
from database.forget import forget
from database.memory import agent_stats, judge_outcome
from database.missions import Finish, NewMission, add_mission, claim_missions, finish_mission
from database.outcomes import add_outcomes
from database.performance import GROUPS, dashboard, related_works
from database.retention import load_retention, prune
from database.vectors import Space, adopt_space
from runner.page.memory import MemoryFigures
from tests.servers.conftest import Database
from tests.servers.memories import remember
from tests.servers.past_missions import Past, recalled_entry, write_past

AGENT, OTHER = "left-agent", "right-agent"


async def with_record(pool: Pool, agent: str, successes: int, failures: int) -> None:
    for number in range(successes + failures):
        await remember(pool, agent, f"case {number}", state="succeeded" if number < successes else "failed")


async def standing(pool: Pool, successes: int, failures: int) -> str:
    found: str = await pool.fetchval("SELECT standing($1, $2)", successes, failures)
    return found


async def test_agents_without_missions_show_zeros(database):
    await database.register(AGENT)
    async with database.pool("gateway") as pool:
        data = await dashboard(pool)
    (agent,) = data["agents"]
    assert (agent["missions"], agent["successes"], agent["success_rate"], agent["hits"]) == (0, 0, 0, 0)
    assert data["groups"]["unproven"]["agents"] == [AGENT]
    assert data["hit_rate"]["rate"] is None
    assert data["trends"] == {"all": [], "agents": {}}


@pytest.mark.parametrize(
    ("successes", "failures", "group"),
    [
        (0, 0, "unproven"),
        (0, 1, "unproven"),
        (0, 9, "unproven"),
        (9, 0, "unproven"),
        (0, 10, "eliminated"),
        (10, 0, "high performer"),
        (16, 0, "hall of fame"),
        (95, 5, "hall of fame"),
        (85, 15, "high performer"),
        (17, 3, "unproven"),
        (50, 50, "needs improvement"),
        (35, 65, "quarantined"),
        (30, 70, "quarantined"),
        (15, 85, "eliminated"),
    ],
)
async def test_a_group_is_entered_only_when_the_record_shows_it(database, successes, failures, group):
    async with database.pool("gateway") as pool:
        assert await standing(pool, successes, failures) == group


ORDER = ("eliminated", "quarantined", "needs improvement", "unproven", "high performer", "hall of fame")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(successes=st.integers(0, 3000), failures=st.integers(0, 3000))
async def test_one_more_success_never_lowers_and_one_more_failure_never_raises(database, successes, failures):
    async with database.pool("gateway", most=1) as pool:
        here = ORDER.index(await standing(pool, successes, failures))
        if successes + failures >= 10:
            assert ORDER.index(await standing(pool, successes + 1, failures)) >= here
            assert ORDER.index(await standing(pool, successes, failures + 1)) <= here
        low, high = await pool.fetchrow(
            "SELECT wilson_bound($1, $2, false, 1.645), wilson_bound($1, $2, true, 1.645)",
            successes,
            successes + failures,
        )
    if successes + failures:
        rate = successes / (successes + failures)
        assert 0 <= low <= rate + 1e-9
        assert rate - 1e-9 <= high <= 1
        for bound in (low, high):  # where the score test is just at the limit (Wilson 1927)
            if 1e-9 < bound < 1 - 1e-9:  # at the ends it is the rate itself, up to rounding
                error = math.sqrt(bound * (1 - bound) / (successes + failures))
                assert abs(rate - bound) / error == pytest.approx(1.645, abs=1e-6)
    else:
        assert low is None


async def test_the_tables_columns_follow_the_same_rule(database):
    await database.register(AGENT, OTHER)
    async with database.pool("gateway") as pool:
        await with_record(pool, AGENT, 16, 0)
        await with_record(pool, OTHER, 0, 10)
        rows = await pool.fetch(
            "SELECT hall_of_fame, eliminated, standing FROM agent_performance ORDER BY agent_name"
        )
        assert [tuple(row) for row in rows] == [(True, False, "hall of fame"), (False, True, "eliminated")]
        assert (await agent_stats(pool, AGENT)).standing == "hall of fame"
        data = await dashboard(pool)
    assert {name: group["agents"] for name, group in data["groups"].items() if group["agents"]} == {
        "hall of fame": [AGENT],
        "eliminated": [OTHER],
    }
    assert set(data["groups"]) == set(GROUPS) == set(ORDER)


async def work(
    database: Database,
    number: int,
    *,
    arm: Literal["memory", "control"],
    recalled: list[dict[str, Any]] | None,
    verdict: bool | None,
) -> None:
    """One mission from intake to verdict."""
    new = NewMission(
        "o/r", number, "opened", f"case {number}", "", [], "a", "US", "queued", agent=AGENT, arm=arm
    )
    async with database.connect("gateway") as gateway, database.agent_pool(AGENT) as pool:
        await add_mission(gateway, new)
        (mission,) = await claim_missions(pool, AGENT, "r1", most=1)
        await finish_mission(pool, mission, Finish("done", solution="s", recalled=recalled))
        if verdict is not None:
            await judge_outcome(gateway, mission.id, succeeded=verdict, by="person: closed")


async def test_the_learning_curve_compares_missions_with_and_without_memory(database):
    await database.register(AGENT)
    hit = [recalled_entry(similarity=0.83)]
    await work(database, 1, arm="memory", recalled=[], verdict=True)
    await work(database, 2, arm="memory", recalled=hit, verdict=True)
    await work(database, 3, arm="memory", recalled=[*hit, recalled_entry(similarity=1.0)], verdict=None)
    await work(database, 4, arm="control", recalled=None, verdict=False)
    async with database.connect("agents_owner") as owner:
        await owner.execute(
            "UPDATE agent_memories SET resolution_time_minutes = CASE issue_number WHEN 1 THEN 30 WHEN 2 THEN 10"
            " WHEN 3 THEN 40 ELSE 60 END"
        )
    async with database.pool("gateway") as pool:
        data = await dashboard(pool)
    arms = {point["name"]: point for point in data["learning"]["arm"]}
    assert (arms["memory"]["missions"], arms["control"]["missions"]) == (3, 1)
    assert arms["memory"]["success_rate"] == pytest.approx(2 / 3), (
        "what is not judged yet is no success so far"
    )
    assert (arms["memory"]["pending"], arms["control"]["pending"]) == (1, 0)
    assert arms["control"]["success_rate"] == 0
    assert arms["control"]["hit_rate"] is None, "the control arm never asks"
    recalled = {point["name"]: point for point in data["learning"]["recalled"]}
    typical = recalled["with recalled work"]
    assert typical["minutes"] == pytest.approx(20), "the geometric mean of 10 and 40"
    assert typical["minutes_low"] < 20 < typical["minutes_high"]
    assert recalled["without recalled work"]["minutes_low"] is None, "one mission has no spread"
    (first,) = data["learning"]["experience"]
    assert (first["name"], first["missions"], first["hits"]) == ("1–5", 4, 2)
    by_arm = {
        arm: [(each["name"], each["missions"]) for each in curve]
        for arm, curve in data["learning"]["curve"].items()
    }
    assert by_arm == {"memory": [("1–5", 3)], "control": [("1–5", 1)]}
    effect = data["learning"]["effect"]
    assert effect["time_saved"] == pytest.approx(1 - (30 * 10 * 40) ** (1 / 3) / 60)
    assert effect["time_saved_low"] is None, "one mission has no spread"
    assert effect["success_gained"] == pytest.approx(2 / 3)
    assert effect["success_gained_low"] < 0, "four missions prove little"
    assert data["hit_rate"]["asked"] == 3
    assert data["hit_rate"]["rate"] == pytest.approx(2 / 3)
    assert data["hit_rate"]["knew_something"] == 2, "before its first success it could not be given anything"
    assert data["similarity"] == [
        {"from": 0.8, "to": 0.85, "count": 2},
        {"from": 0.95, "to": 1.0, "count": 1},
    ]
    (week,) = data["trends"]["all"]
    assert (week["outcomes"], week["successes"], week["failures"], week["asked"], week["hits"]) == (
        4,
        2,
        1,
        3,
        2,
    )
    assert week["minutes"] == pytest.approx(35)
    assert data["trends"]["agents"][AGENT] == [week]


async def test_missions_without_memory_that_leave_nothing_to_judge_count_as_no_success(database):
    """Else the few of them that were judged would stand for all."""
    await database.register(AGENT)
    past = [
        *[Past(AGENT, "succeeded")] * 8,
        *[Past(AGENT, "failed")] * 2,
        *[Past(AGENT, "pending", "control")] * 8,
        *[Past(AGENT, "succeeded", "control")] * 2,
    ]
    async with database.connect("agents_owner") as owner:
        await write_past(owner, past)
    await decline(database, arm="memory")
    async with database.pool("gateway") as pool:
        learning = (await dashboard(pool))["learning"]
    arms = {point["name"]: point for point in learning["arm"]}
    assert (arms["control"]["success_rate"], arms["control"]["pending"]) == (0.2, 8)
    assert arms["memory"]["success_rate"] == pytest.approx(8 / 11)
    assert arms["memory"]["declined"] == 1
    assert learning["effect"]["success_gained"] == pytest.approx(8 / 11 - 0.2)


async def decline(database: Database, *, arm: Literal["memory", "control"]) -> None:
    new = NewMission("o/r", 99, "opened", "not for it", "", [], "a", "US", "queued", agent=AGENT, arm=arm)
    async with database.connect("gateway") as gateway, database.agent_pool(AGENT) as pool:
        await add_mission(gateway, new)
        (mission,) = await claim_missions(pool, AGENT, "r1", most=1)
        await finish_mission(pool, mission, Finish("declined", reason="not for it"))


@pytest.fixture
async def experienced(database):
    """Two months of an agent, a mission a day, in both arms; a third of the issues is Zoe's."""
    await database.register(AGENT)
    past = [
        Past(
            AGENT,
            ("succeeded", "succeeded", "failed", "pending")[number % 4],
            "control" if number % 5 == 4 else "memory",
            minutes=60.0 - number / 2,
            days=60.5 - number,
            similarities=[0.83] * (number % 3),
        )
        for number in range(60)
    ]
    async with database.connect("agents_owner") as owner:
        await write_past(owner, past)
        await owner.execute("UPDATE missions SET author = 'zoe' WHERE issue_number % 3 = 0")
        await owner.execute("UPDATE agent_memories SET issue_author = 'zoe' WHERE issue_number % 3 = 0")
    return database


async def test_what_memory_is_worth_stays_when_somebody_is_erased(experienced):
    before = await learning_of(experienced)
    assert before["effect"]["time_saved_low"] is not None
    assert {arm: len(curve) for arm, curve in before["curve"].items()} == {"memory": 5, "control": 5}
    async with experienced.connect("agents_owner") as owner:
        await owner.execute("SET TimeZone = 'Asia/Tokyo'")
        assert (await forget(owner, "zoe", load_retention({}), None)).memories == 20
    assert await learning_of(experienced) == before


async def test_what_memory_is_worth_stays_when_missions_are_pruned(experienced):
    before = await learning_of(experienced)
    async with experienced.connect("gateway") as gateway:
        removed = await prune(gateway, load_retention({"MISSIONS_DAYS": "10"}))
    assert removed == {"missions": 51}
    assert await learning_of(experienced) == before


async def test_a_declined_mission_goes_with_its_retention_and_moves_no_other(experienced):
    before = await learning_of(experienced)
    await decline(experienced, arm="memory")
    async with experienced.connect("gateway") as gateway:
        await gateway.execute(
            "UPDATE missions SET finished_at = now() - interval '99 days' WHERE state = 'declined'"
        )
        learning = await learning_of(experienced)
        assert [point["declined"] for point in learning["experience"]] == [1, 0, 0, 0, 0]
        assert learning["experience"][1:] == before["experience"][1:]
        await prune(gateway, load_retention({"MISSIONS_DAYS": "90"}))
    assert await learning_of(experienced) == before


async def test_how_long_a_loaded_pull_request_was_open_is_no_experience(experienced):
    before = await learning_of(experienced)
    async with experienced.connect("agents_owner") as owner:
        await add_outcomes(owner, [past_outcome(AGENT, 7, "merged long ago", succeeded=True)])
    assert await learning_of(experienced) == before


async def learning_of(database: Database) -> dict[str, Any]:
    """Rounded, because the order of rows decides about the last digit of a mean."""
    async with database.pool("gateway") as pool:
        learning: dict[str, Any] = (await MemoryFigures(pool).snapshot())["learning"]
    return learning


async def test_nothing_is_gained_or_lost_before_the_first_verdict(database):
    await database.register(AGENT)
    async with database.connect("agents_owner") as owner:
        await write_past(owner, [Past(AGENT, "pending"), Past(AGENT, "pending", "control")])
    async with database.pool("gateway") as pool:
        assert (await dashboard(pool))["learning"]["effect"]["success_gained"] is None


async def test_times_of_milliseconds_are_told_apart_and_one_of_nothing_breaks_no_mean(database):
    await database.register(AGENT)
    past = [Past(AGENT, arm=arm, minutes=minutes) for arm, minutes in (("memory", 0.0), ("control", 1 / 600))]
    async with database.connect("agents_owner") as owner:
        await write_past(owner, past)
    async with database.pool("gateway") as pool:
        learning = (await dashboard(pool))["learning"]
    assert {point["name"]: point["minutes"] for point in learning["arm"]} == {
        "memory": pytest.approx(1 / 60_000),
        "control": pytest.approx(1 / 600),
    }
    assert learning["effect"]["time_saved"] == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("model", "dimension", "calibrated", "told"),
    [
        (None, 0, False, "Nothing is embedded yet: words alone count."),
        ("minilm", 384, True, "Words count together with the vectors of minilm"),
        (
            "text-embedding-3-small",
            1536,
            False,
            "Words alone count: nobody has calibrated text-embedding-3-small",
        ),
    ],
)
async def test_it_is_said_when_words_alone_count(database, model, dimension, calibrated, told):
    if model is not None:
        async with database.connect("gateway") as gateway:
            await adopt_space(gateway, Space(model, dimension, "1"))
    assert told in " ".join((await run_dashboard(database)).split())
    vectors = json.loads(await run_dashboard(database, "--json"))["vectors"]
    assert vectors == {"model": model, "calibrated": calibrated}


async def test_what_memory_is_worth_is_told_with_its_interval(database):
    """56 of 70 and 48 of 80 are an example of Newcombe's (1998, table II a, method 10)."""
    await database.register(AGENT)
    spread = (math.e, 1 / math.e)  # so that the standard deviation of the logarithms is known
    missions = [
        Past(AGENT, "succeeded" if number < right else "failed", arm, minutes=typical * spread[number % 2])
        for arm, right, count, typical in (("memory", 56, 70, 10.0), ("control", 48, 80, 20.0))
        for number in range(count)
    ]
    async with database.connect("agents_owner") as owner:
        await write_past(owner, missions)
    async with database.pool("gateway") as pool:
        effect = (await dashboard(pool))["learning"]["effect"]
    factor = math.exp(1.96 * math.sqrt(1 / 69 + 1 / 79))
    assert effect == pytest.approx(
        {
            "time_saved": 0.5,
            "time_saved_low": 1 - 0.5 * factor,
            "time_saved_high": 1 - 0.5 / factor,
            "success_gained": 0.2,
            "success_gained_low": 0.0524,
            "success_gained_high": 0.3339,
        },
        abs=1e-4,
    )


async def test_what_a_perfect_recall_could_reach_is_told_beside(database):
    await database.register(AGENT, OTHER)
    async with database.pool("gateway") as pool:
        await remember(pool, AGENT, "a", files=("src/api/v1/user.py",))
        await remember(pool, AGENT, "b", files=("src/api/v1/group.py",))
        await remember(pool, AGENT, "c", files=("docs/a.md",))
        await remember(pool, OTHER, "d", files=("src/api/v1/user.py",))
        hit_rate = (await dashboard(pool))["hit_rate"]
    assert (hit_rate["works"], hit_rate["related"], hit_rate["related_rate"]) == (4, 1, 0.25)
    assert related_works([], []) == 0


async def test_what_a_loaded_work_would_have_told_a_mission_before_it_was_loaded_was_not_possible(database):
    await database.register(AGENT)
    files = ("src/api/v1/user.py",)
    async with database.pool("gateway") as pool, database.connect("agents_owner") as owner:
        await remember(pool, AGENT, "before", files=files)
        loaded = past_outcome(AGENT, 7, "merged long ago", succeeded=True)
        await add_outcomes(owner, [replace(loaded, files=files)])
        assert (await dashboard(pool))["hit_rate"]["related"] == 0
        await remember(pool, AGENT, "after", files=files)
        assert (await dashboard(pool))["hit_rate"]["related"] == 1


async def test_a_past_work_that_was_loaded_later_could_not_be_recalled_before(database):
    await database.register(AGENT)
    await work(database, 1, arm="memory", recalled=[], verdict=None)
    async with database.connect("agents_owner") as owner:
        await add_outcomes(owner, [past_outcome(AGENT, 7, "merged long ago", succeeded=True)])
        async with database.pool("gateway") as pool:
            assert (await dashboard(pool))["hit_rate"]["knew_something"] == 0
            await work(database, 2, arm="memory", recalled=[], verdict=None)
            assert (await dashboard(pool))["hit_rate"]["knew_something"] == 1


async def test_a_hit_was_possible_though_the_only_work_was_reverted_since(database):
    await database.register(AGENT)
    await work(database, 1, arm="memory", recalled=[], verdict=True)
    await work(database, 2, arm="memory", recalled=[recalled_entry()], verdict=None)
    await work(database, 3, arm="memory", recalled=[], verdict=None)
    async with database.pool("gateway") as pool, database.connect("gateway") as gateway:
        assert (await dashboard(pool))["hit_rate"]["knew_something"] == 2
        first = await pool.fetchval("SELECT id FROM missions WHERE issue_number = 1")
        await judge_outcome(gateway, first, succeeded=False, by="pull request #9 merged", reverted=True)
        hit_rate = (await dashboard(pool))["hit_rate"]
    assert (hit_rate["asked"], hit_rate["hits"], hit_rate["knew_something"]) == (3, 1, 1)


async def test_the_command_shows_the_same_as_a_table_and_as_json(database):
    await database.register(AGENT)
    async with database.pool("gateway") as pool:
        await with_record(pool, AGENT, 16, 0)
    shown, as_json = await run_dashboard(database), await run_dashboard(database, "--json")
    assert "hall of fame" in shown
    assert AGENT in shown
    assert json.loads(as_json)["groups"]["hall of fame"]["agents"] == [AGENT]


async def test_memories_are_the_works_that_can_be_recalled(database):
    await database.register(AGENT, OTHER)
    async with database.pool("gateway") as pool, database.connect("agents_owner") as owner:
        await remember(pool, AGENT, "recallable")
        await remember(pool, AGENT, "hers", author="zoe")
        await remember(pool, AGENT, "holds her words", number=2)
        await remember(pool, AGENT, "tells no solution", number=3)
        await remember(pool, AGENT, "failed", state="failed")
        await remember(pool, AGENT, "not judged yet", state="pending")
        await owner.execute(
            "UPDATE agent_memories SET solution_authors = CASE issue_number WHEN 2 THEN '{zoe}'::text[] ELSE '{}' END,"
            " solution_approach = CASE issue_number WHEN 3 THEN '' ELSE solution_approach END"
        )
        assert await memories(pool) == {AGENT: 3, OTHER: 0}
        await forget(owner, "zoe", load_retention({}), None)
        assert await memories(pool) == {AGENT: 1, OTHER: 0}
        by_name = {agent["agent"]: agent for agent in (await dashboard(pool))["agents"]}
        assert by_name[AGENT]["successes"] == 4, "its record stays"
    row = next(line for line in (await run_dashboard(database)).splitlines() if AGENT in line.split())
    assert row.split()[-2:] == ["1", "0/0"], "memories and hits"


async def memories(pool: Pool) -> dict[str, int]:
    return {agent["agent"]: agent["memories"] for agent in (await dashboard(pool))["agents"]}


async def test_a_long_name_is_whole_in_a_terminal_of_80_columns(database):
    name = "guard-compliance-specialist"
    await database.register(name)
    shown = await run_dashboard(database, columns=80)
    assert f" {name} " in shown
    assert " memories " in shown


async def run_dashboard(database: Database, *arguments: str, columns: int = 160) -> str:
    environment = {**os.environ, "DATABASE_URL": database.url("gateway"), "COLUMNS": str(columns)}
    process = await create_subprocess_exec(
        sys.executable, "-m", "runner", "dashboard", *arguments, env=environment, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
