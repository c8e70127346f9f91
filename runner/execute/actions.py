"""Hands a mission to GitHub Actions and waits for its run: hybrid mode, and the fallback of the cloud path.

The workflow puts the mission's id in its `run-name`. A run with that id is looked for before one is
dispatched, so a second attempt finds the first one's run. That is also why cancelling leaves it alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from errors import Unavailable
from runner.execute import Head, Mission, Result, Task
from runner.execute.publish import publishable

WORKFLOW = "agent.yml"
# A mission is retried for days at most; older runs need not be searched.
SEARCHED = timedelta(days=30)


class Run(Protocol):
    """One workflow run; `runner.github.objects.Run` has it."""

    @property
    def id(self) -> int: ...
    @property
    def status(self) -> str:
        """queued, in_progress, … or completed"""
        ...

    @property
    def conclusion(self) -> str | None:
        """success, failure, cancelled, …; None until completed."""
        ...

    @property
    def url(self) -> str: ...


class Workflows(Protocol):
    """The part of GitHub that is used here; `runner.github.GitHub` satisfies it."""

    async def head(self, repository: str) -> Head: ...
    async def dispatch(self, repository: str, workflow: str, ref: str, inputs: Mapping[str, str]) -> None: ...
    async def find_run(self, repository: str, workflow: str, text: str, since: datetime) -> Run | None: ...
    async def run(self, repository: str, run: int) -> Run: ...


@dataclass(frozen=True, slots=True)
class ActionsLimits:
    """Seconds."""

    appear: float = 60
    """How long a dispatched run may take to be listed."""
    finish: float = 3_600
    poll_first: float = 2
    poll_most: float = 30


class ActionsExecutor:
    """Costs Actions minutes, which GitHub bills and caps; nothing is reserved for them here."""

    def __init__(self, workflows: Workflows, limits: ActionsLimits | None = None) -> None:
        self._workflows = workflows
        self._limits = limits or ActionsLimits()

    @property
    def paid(self) -> bool:
        return True

    async def execute(self, task: Task) -> Result:
        """The run's conclusion as the result. Raises Unavailable when no run appears or ends in time."""
        mission = task.mission
        run = await self._find(mission)
        if run is None and mission.attempts > 1:
            # An earlier attempt may have dispatched a moment ago: a run is listed with a delay.
            run = await self._appear(mission)
        if run is None:
            head = await self._workflows.head(mission.repository)
            await self._workflows.dispatch(
                mission.repository,
                WORKFLOW,
                head.branch,
                {"mission": str(mission.id), "agent": task.agent.name, "issue": str(mission.issue_number)},
            )
            run = await self._appear(mission)
        if run is None:
            raise Unavailable(
                f"no run of {WORKFLOW} with mission {mission.id} in its name appeared within "
                f"{self._limits.appear:g} s; does its `run-name` hold the input `mission`?"
            )
        return _result(await self._finish(mission.repository, run))

    async def _find(self, mission: Mission) -> Run | None:
        since = datetime.now(UTC) - SEARCHED
        return await self._workflows.find_run(mission.repository, WORKFLOW, str(mission.id), since)

    async def _appear(self, mission: Mission) -> Run | None:
        async for _ in self._polls(self._limits.appear):
            if (run := await self._find(mission)) is not None:
                return run
        return None

    async def _finish(self, repository: str, run: Run) -> Run:
        if run.status == "completed":
            return run
        async for _ in self._polls(self._limits.finish):
            run = await self._workflows.run(repository, run.id)
            if run.status == "completed":
                return run
        raise Unavailable(
            f"{run.url} did not end within {self._limits.finish:g} s; a later attempt looks again"
        )

    async def _polls(self, seconds: float) -> AsyncIterator[None]:
        until = time.monotonic() + seconds
        pause = self._limits.poll_first
        while time.monotonic() < until:
            await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
            pause = min(pause * 1.5, self._limits.poll_most)
            yield


def _result(run: Run) -> Result:
    ended = f"GitHub Actions ended as {run.conclusion or 'unknown'}: {run.url}"
    return Result(run.conclusion == "success", answer=publishable(ended), solution=ended, reason=ended)
