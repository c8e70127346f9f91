"""What every part of the local GitHub shares, and how it reports a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runner.localgithub.deliveries import Deliveries
from runner.localgithub.faults import Faults
from runner.localgithub.settings import LocalGitHubSettings
from runner.localgithub.store import Store


class ApiError(Exception):
    """Answered as GitHub does: `status` and {"message", "errors", …}."""

    def __init__(self, status: int, message: str, *errors: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors


@dataclass(slots=True)
class State:
    """`url` is where the server listens; `on_issue` and `on_comment` are told (repository, number, actor)."""

    store: Store
    settings: LocalGitHubSettings
    deliveries: Deliveries
    faults: Faults
    url: str = ""
    on_issue: list[Callable[[str, int, str], None]] = field(default_factory=list)
    on_comment: list[Callable[[str, int, str], None]] = field(default_factory=list)

    def now(self) -> str:
        return timestamp(self.settings.clock())


def timestamp(seconds: float) -> str:
    """GitHub's form of a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stable_id(*parts: object) -> int:
    """A positive id that is the same in every process (GitHub's ids fit 63 bits; this one fits 31)."""
    digest = hashlib.sha256("\0".join(str(part).lower() for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1 or 1
