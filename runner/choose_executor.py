"""The executor that the settings name; only that one is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from database.connect import Pool
from runner.execute import Executor
from runner.settings import RunnerSettings


@asynccontextmanager
async def open_executor(settings: RunnerSettings, pool: Pool) -> AsyncIterator[Executor]:
    """The executor, for as long as the runner lives. Raises SettingsError where it lacks a setting."""
    if settings.executor == "recall":
        from runner.execute.recall import RecallExecutor

        yield RecallExecutor()
        return
    from runner.github.access import open_github

    async with open_github(settings.github) as github:
        if settings.executor == "actions":
            from runner.execute.actions import ActionsExecutor

            yield ActionsExecutor(github)
            return
        from database.spending import MissionWallet
        from runner.execute.model import ModelExecutor

        yield ModelExecutor(
            settings.model,
            github,
            lambda mission: MissionWallet(pool, mission),
            settings.work_folder / "checkouts" / settings.runner_id,
        )
