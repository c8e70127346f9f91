"""A recording that cannot go on ends with an error, not with a test that hangs."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
import pytest

from infra import record
from tests.unit.stacks import outlook_of


class Interrupted(BaseException):
    """As a test's time limit raises it: no `Exception`."""


def test_a_value_that_never_comes_ends_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> dict[str, Any]:
        never: asyncio.Future[str] = asyncio.Future()
        pulumi.ComponentResource("test:it:Waits", "waits", {"value": never}, remote=False)
        return {"value": pulumi.Output.from_input(never)}

    _refuses(monkeypatch, build)


def test_an_interrupted_task_ends_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> dict[str, Any]:
        waiting: asyncio.Future[str] = asyncio.Future()

        async def interrupted() -> None:
            if not waiting.done():
                raise Interrupted
            waiting.set_result("never reached")

        task = asyncio.ensure_future(interrupted())
        return {"value": pulumi.Output.from_input(waiting), "task": task}

    _refuses(monkeypatch, build)


def _refuses(monkeypatch: pytest.MonkeyPatch, build: Any) -> None:
    outlook = outlook_of("dev")
    monkeypatch.setattr(record, "build", build)
    with pytest.raises(RuntimeError, match="stands still"):
        record.record(outlook.settings, outlook.plan)
