"""Executors and the GitHub client together, against the local GitHub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.execute import Task
from runner.execute.actions import ActionsExecutor, ActionsLimits
from runner.execute.model import ModelExecutor
from runner.github import GitHub, marker
from runner.github.app import PlainToken
from runner.github.transport import GitHubSettings
from runner.localgithub import LocalGitHub, LocalGitHubSettings
from tests.servers.mission_parts import CappedWallet, Mission, task
from tests.servers.scripted_model import ScriptedModel, calls, finish
from tests.servers.test_model_executor import Settings

REPOSITORY = "local/repository"
WORKFLOW = """
name: agent
run-name: mission ${{ inputs.mission }}
on:
  workflow_dispatch:
    inputs:
      mission: {required: true}
      agent: {required: true}
      issue: {required: true}
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalGitHub]:
    contents = tmp_path / "contents"
    (contents / ".github/workflows").mkdir(parents=True)
    (contents / ".github/workflows/agent.yml").write_text(WORKFLOW)
    (contents / "planets.py").write_text("PLANETS = 9\n")
    data = tmp_path / "github"
    data.mkdir()
    async with LocalGitHub(LocalGitHubSettings(data=data, contents=contents)) as running:
        yield running


@pytest.fixture
async def github(server: LocalGitHub) -> AsyncIterator[GitHub]:
    async with GitHub(PlainToken(server.token()), GitHubSettings(base_url=server.url)) as client:
        yield client


def todo(*tools: str, attempts: int = 1) -> Task:
    made = task(*tools)
    mission = Mission(repository=REPOSITORY, attempts=attempts)
    return replace(made, mission=mission, issue=replace(made.issue, repository=REPOSITORY))


async def test_what_a_model_changed_becomes_a_pull_request(github: GitHub, tmp_path: Path) -> None:
    work = todo("view", "edit", "create")
    async with ScriptedModel(
        calls(("edit", {"path": "planets.py", "old": "9", "new": "8"})),
        calls(("create", {"path": "docs/pluto.md", "content": "A dwarf.\n"})),
        finish("Count eight planets"),
    ) as model:
        settings = Settings(model.url, (model.url,))
        executor = ModelExecutor(settings, github, lambda mission: CappedWallet(), tmp_path / "work")
        result = await executor.execute(work)
    assert result.change is not None
    assert result.change.base_sha == (await github.head(REPOSITORY)).sha
    mark = marker(work.mission.id, "pull_request")
    number, _ = await github.ensure_pull_request(REPOSITORY, mark, "agents-cloud/7", result.change)
    made = await github.pull_request(REPOSITORY, number)
    assert "Closes #7" in made.body
    target = tmp_path / "after.tar.gz"
    await github.tarball(REPOSITORY, "agents-cloud/7", target)
    assert target.stat().st_size > 0


async def test_a_mission_is_handed_to_actions_once_and_its_end_awaited(
    server: LocalGitHub, github: GitHub
) -> None:
    work = todo()
    limits = ActionsLimits(appear=100, finish=100, poll_first=0.02, poll_most=0.05)
    first = asyncio.create_task(ActionsExecutor(github, limits).execute(work))
    since = datetime.now(UTC) - timedelta(hours=1)
    run = None
    async with asyncio.timeout(100):
        while run is None:
            assert not first.done() or first.result()
            await asyncio.sleep(0.02)
            run = await github.find_run(REPOSITORY, "agent.yml", str(work.mission.id), since)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    server.finish_run(REPOSITORY, run.id, "success")
    again = replace(work, mission=Mission(work.mission.id, REPOSITORY, attempts=2))
    result = await ActionsExecutor(github, limits).execute(again)
    assert result.success
    assert run.url in result.answer
