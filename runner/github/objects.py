"""What GitHub's REST API answers, as values. The shapes are those of docs.github.com/rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

from errors import GitHubError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on an issue or a pull request."""

    id: int
    url: str
    author: str
    body: str

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        return cls(int(data["id"]), str(data["html_url"]), _login(data), str(data["body"] or ""))


@dataclass(frozen=True, slots=True)
class LabelEvent:
    """Somebody put a label on an issue. `by_bot` is true for Apps."""

    label: str
    actor: str
    by_bot: bool

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        actor = data["actor"] or {}  # null once the account is deleted
        return cls(str(data["label"]["name"]), str(actor.get("login", "")), actor.get("type") == "Bot")


@dataclass(frozen=True, slots=True)
class IssueEvent:
    """What happened to an issue or a pull request. `issue` is what that is now, as in a webhook; empty once gone."""

    id: int
    kind: str
    """closed, reopened, labeled, unlabeled, merged, …"""
    at: datetime
    actor: Mapping[str, Any]
    """Empty once the account is deleted."""
    label: str
    issue: Mapping[str, Any]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        label = data.get("label") or {}
        return cls(
            int(data["id"]),
            str(data["event"]),
            datetime.fromisoformat(str(data["created_at"])),
            dict(data["actor"] or {}),
            str(label.get("name", "")),
            dict(data.get("issue") or {}),
        )

    @property
    def number(self) -> int:
        return int(self.issue["number"])


@dataclass(frozen=True, slots=True)
class Head:
    """A branch and the commit that it points to."""

    branch: str
    sha: str


@dataclass(frozen=True, slots=True)
class PullRequest:
    """`merge_sha` is the commit that the merge made; None before."""

    number: int
    url: str
    state: str
    merged: bool
    merge_sha: str | None
    branch: str
    body: str

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        # A list has no `merged`; before a merge, `merge_commit_sha` is GitHub's trial merge.
        merged = data["merged_at"] is not None
        sha = str(data["merge_commit_sha"]) if merged else None
        head = str(data["head"]["ref"])
        url, body = str(data["html_url"]), str(data["body"] or "")
        return cls(int(data["number"]), url, str(data["state"]), merged, sha, head, body)


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow run. `status` is queued, in_progress or completed; `conclusion` is None until completed."""

    id: int
    title: str
    status: str
    conclusion: str | None
    url: str

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        conclusion = None if data["conclusion"] is None else str(data["conclusion"])
        title, status = str(data["display_title"]), str(data["status"])
        return cls(int(data["id"]), title, status, conclusion, str(data["html_url"]))


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver a webhook. `guid` is X-GitHub-Delivery, the same for every attempt."""

    id: int
    guid: str
    event: str
    action: str | None
    status: str
    """OK where it arrived, pending while it is on its way, else why it failed."""
    status_code: int
    at: datetime

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        action = None if data["action"] is None else str(data["action"])
        code, at = int(data["status_code"]), datetime.fromisoformat(data["delivered_at"])
        guid, event, status = str(data["guid"]), str(data["event"]), str(data["status"])
        return cls(int(data["id"]), guid, event, action, status, code, at)


def _login(data: Mapping[str, Any]) -> str:
    user = data["user"] or {}  # null once the account is deleted
    return str(user.get("login", ""))


def read(reader: Callable[[Any], T], data: Any) -> T:
    """Reads an answer; one of another shape (a later API's, say) is GitHub's error and no crash here."""
    try:
        return reader(data)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise GitHubError(200, f"the answer has an unknown shape: {type(error).__name__} {error}") from error
