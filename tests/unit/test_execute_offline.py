"""The executors that run no model here: `recall` and `actions`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import pytest

from errors import Unavailable
from runner.execute import Executor
from runner.execute.actions import ActionsExecutor, ActionsLimits
from runner.execute.recall import RecallExecutor
from runner.execute.uncancelled import to_the_end
from tests.servers.mission_parts import REPOSITORY, SHA, Head, Mission, Recalled, task

FAST = ActionsLimits(appear=0.3, finish=0.3, poll_first=0.005, poll_most=0.02)


async def test_recall_lists_similar_work_and_says_that_no_model_ran() -> None:
    other = Recalled("Two\nlines @octocat", 4, "Fixes #9 by hand.", "", 0.72)
    result = await RecallExecutor().execute(task(recalled=[Recalled(), other]))
    assert result.success
    assert "No model ran" in result.answer
    assert "**#3 Wrong number of moons** (similarity 0.91)" in result.answer
    assert result.answer.index("0.91") < result.answer.index("0.72")
    assert "Learned: Count twice." in result.answer
    assert "@octocat" not in result.answer
    assert "Fixes #9" not in result.answer
    assert result.solution == "As in #3 Wrong number of moons: Counted them again."
    assert result.lessons == "Count twice."
    assert result.change is None
    assert result.cost_usd == result.tokens == 0
    assert "no model ran" in result.reason


async def test_recall_says_when_it_knows_nothing() -> None:
    result = await RecallExecutor().execute(task())
    assert "knows no similar work" in result.answer
    assert "No model ran" in result.answer


async def test_recall_keeps_long_works_readable() -> None:
    many = [Recalled(solution_approach="x" * 100_000) for _ in range(5)]
    assert len((await RecallExecutor().execute(task(recalled=many))).answer) < 10_000


def test_who_costs_money_says_so() -> None:
    free: Executor = RecallExecutor()
    paid: Executor = ActionsExecutor(Workflows())
    assert not free.paid
    assert paid.paid


@dataclass(slots=True)
class Run:
    id: int
    title: str
    status: str = "in_progress"
    conclusion: str | None = None

    @property
    def url(self) -> str:
        return f"https://github.example/runs/{self.id}"


@dataclass(slots=True)
class Workflows:
    """GitHub's workflow runs: a dispatched run is listed only after some looks, and ends after some more."""

    appears_after: int = 2
    ends_after: int = 3
    conclusion: str = "success"
    runs: list[Run] = field(default_factory=list)
    dispatched: list[Mapping[str, str]] = field(default_factory=list)
    looks: int = 0
    polls: int = 0

    async def head(self, repository: str) -> Head:
        return Head("main", SHA)

    async def dispatch(self, repository: str, workflow: str, ref: str, inputs: Mapping[str, str]) -> None:
        assert (repository, workflow, ref) == (REPOSITORY, "agent.yml", "main")
        self.dispatched.append(inputs)
        self.runs.append(Run(len(self.runs) + 1, f"agent mission {inputs['mission']}"))
        self.looks = 0

    async def find_run(self, repository: str, workflow: str, text: str, since: datetime) -> Run | None:
        assert since.tzinfo is not None
        self.looks += 1
        if self.looks <= self.appears_after:
            return None
        return next((run for run in self.runs if text in run.title), None)

    async def run(self, repository: str, run: int) -> Run:
        self.polls += 1
        found = self.runs[run - 1]
        if self.polls >= self.ends_after:
            found.status, found.conclusion = "completed", self.conclusion
        return found


async def test_a_mission_is_handed_to_one_run_and_its_end_awaited() -> None:
    workflows = Workflows()
    todo = task()
    result = await ActionsExecutor(workflows, FAST).execute(todo)
    assert result.success
    assert "https://github.example/runs/1" in result.answer
    assert workflows.dispatched == [{"mission": str(todo.mission.id), "agent": "astronomer", "issue": "7"}]


@pytest.mark.parametrize("conclusion", ["failure", "cancelled", "timed_out"])
async def test_a_run_that_fails_fails_the_mission_with_its_address(conclusion: str) -> None:
    result = await ActionsExecutor(Workflows(conclusion=conclusion), FAST).execute(task())
    assert not result.success
    assert conclusion in result.reason
    assert "runs/1" in result.reason


async def test_a_second_attempt_finds_the_first_ones_run() -> None:
    workflows = Workflows(ends_after=10_000)
    first = task()
    executor = ActionsExecutor(workflows, FAST)
    work = asyncio.create_task(executor.execute(first))
    while not workflows.polls:
        await asyncio.sleep(0.001)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    workflows.looks, workflows.ends_after = 0, 0  # the run is not listed at once, and ends meanwhile
    again = replace(first, mission=Mission(id=first.mission.id, attempts=2))
    assert (await executor.execute(again)).success
    assert len(workflows.dispatched) == 1


async def test_a_run_that_never_appears_or_ends_is_left_for_a_later_attempt() -> None:
    with pytest.raises(Unavailable, match="run-name"):
        await ActionsExecutor(Workflows(appears_after=10_000), FAST).execute(task())
    with pytest.raises(Unavailable, match="did not end within"):
        await ActionsExecutor(Workflows(ends_after=10_000), FAST).execute(task())


async def test_what_must_reach_its_end_does_so_when_cancelled_twice() -> None:
    ended = []

    async def settle() -> str:
        await asyncio.sleep(0.05)
        ended.append(True)
        return "done"

    work = asyncio.create_task(to_the_end(settle()))
    for _ in range(2):
        await asyncio.sleep(0.01)
        work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert ended == [True]
    assert await to_the_end(settle()) == "done"
