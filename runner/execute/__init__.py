"""How a mission is worked: one small protocol and three executors behind it.

`model` asks a language model with tools, `actions` hands the mission to GitHub Actions, `recall` answers from
the agent's own past work. Each lives in the module of its name, so that a runner loads only what it uses.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, Self
from uuid import UUID

from runner.agents import Agent
from runner.issue import Issue


class Mission(Protocol):
    """What an executor needs to know of a mission; `database.missions.Mission` has it."""

    @property
    def id(self) -> UUID: ...
    @property
    def repository(self) -> str:
        """owner/name"""
        ...

    @property
    def issue_number(self) -> int: ...
    @property
    def attempts(self) -> int:
        """How often the mission has been claimed, this time included: 1 on the first try."""
        ...

    @property
    def fence(self) -> int: ...


class Recalled(Protocol):
    """One earlier success of the same agent; `database.memory` returns these, the most similar first."""

    @property
    def issue_title(self) -> str: ...
    @property
    def issue_number(self) -> int: ...
    @property
    def solution_approach(self) -> str: ...
    @property
    def lessons_learned(self) -> str: ...
    @property
    def similarity(self) -> float:
        """Calibrated, 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """An edit of the repository; the gateway turns it into a branch and a pull request."""

    title: str
    body: str
    base_sha: str
    """The full commit id that `files` was made against."""
    files: Mapping[str, bytes | None]
    """Path in the repository → new content; None deletes."""

    def to_json(self) -> dict[str, Any]:
        """As the outbox keeps it until the gateway has made the pull request."""
        files = {
            path: None if content is None else base64.b64encode(content).decode("ascii")
            for path, content in self.files.items()
        }
        return {"title": self.title, "body": self.body, "base_sha": self.base_sha, "files": files}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The change that `to_json` wrote."""
        files = {
            path: None if content is None else base64.b64decode(content)
            for path, content in data["files"].items()
        }
        return cls(data["title"], data["body"], data["base_sha"], files)


@dataclass(frozen=True, slots=True)
class Task:
    """One mission with all that is needed to work it."""

    mission: Mission
    agent: Agent
    issue: Issue
    recalled: Sequence[Recalled]


@dataclass(frozen=True, slots=True)
class Result:
    """How the work ended. Whether it helped is decided later, by the repository."""

    success: bool
    answer: str
    """Markdown for the issue, safe to publish."""
    solution: str
    """The approach, for the agent's memory."""
    lessons: str = ""
    change: Change | None = None
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    reason: str = ""
    """Why it ended so, for the mission's record."""
    declined: bool = False
    """The agent found that the issue is not for it; `success` is False then."""


class Executor(Protocol):
    """Works one mission.

    Raises ExecutionError when the work cannot be done, Unavailable when a later attempt may succeed, and
    BudgetExceeded when a cap would be passed. Cancelling leaves no process and no file behind.
    """

    @property
    def paid(self) -> bool:
        """True when working a mission costs money, so that not everyone may start one."""
        ...

    async def execute(self, task: Task) -> Result: ...


class Wallet(Protocol):
    """The caps on model spending of one mission, its agent's fleet, its day and its month."""

    async def reserve(self, usd: Decimal) -> UUID:
        """Set `usd` aside before it is spent.

        Raises BudgetExceeded, with nothing set aside, where a cap would be passed.
        """
        ...

    async def settle(self, reservation: UUID, usd: Decimal) -> None:
        """Replace the reserved amount by what the call cost; until then the reservation counts in full."""
        ...


class Head(Protocol):
    """A branch and the commit that it points to."""

    @property
    def branch(self) -> str: ...
    @property
    def sha(self) -> str: ...


class RepositorySource(Protocol):
    """Where a checkout comes from; `runner.github.GitHub` satisfies it."""

    async def head(self, repository: str) -> Head:
        """The default branch and its newest commit."""
        ...

    async def tarball(self, repository: str, ref: str, target: Path, max_bytes: int) -> int:
        """Write the tree of `ref` as .tar.gz of at most `max_bytes` to `target`; its size."""
        ...
