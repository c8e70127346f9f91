"""A GitHub issue as the mission flow sees it, read from a webhook's payload or from `gh issue list --json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errors import IssueError

MAX_TITLE = 1_024
MAX_BODY = 65_536  # GitHub's own limit for an issue's body, in characters
MAX_LABELS = 100
MAX_LOGIN = 100  # GitHub allows 39 characters and "[bot]"
AGENT_LABEL = "agent:"


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue; texts are data, never instructions."""

    repository: str
    """owner/name"""
    number: int
    title: str
    body: str
    labels: tuple[str, ...] = ()
    author: str = ""
    state: str = "open"
    author_is_bot: bool = False

    def assigned_agent(self) -> str | None:
        """The agent that a label `agent:<name>` names, or None."""
        for label in self.labels:
            if label.startswith(AGENT_LABEL) and len(label) > len(AGENT_LABEL):
                return label.removeprefix(AGENT_LABEL).strip()
        return None


def issue_from_github(data: Mapping[str, Any], repository: str) -> Issue:
    """The issue in `data`: GitHub's REST and webhook shape (`user`) or `gh`'s (`author`).

    Raises IssueError where number or title is missing or of the wrong type.
    """
    number = data.get("number")
    title = data.get("title")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise IssueError(f"the issue's number is {number!r}", "give a whole number from 1")
    if not isinstance(title, str):
        raise IssueError(f"issue {number} has no title", "give `title` as a text")
    user = data.get("user") or data.get("author") or {}
    user = user if isinstance(user, Mapping) else {"login": str(user)}
    login = _clean(user.get("login"), MAX_LOGIN)
    return Issue(
        repository=repository,
        number=number,
        title=_clean(title, MAX_TITLE),
        body=_clean(data.get("body"), MAX_BODY),
        labels=_labels(data.get("labels")),
        author=login,
        state=str(data.get("state") or "open").lower(),
        author_is_bot=user.get("type") == "Bot" or bool(user.get("is_bot")) or login.endswith("[bot]"),
    )


def _labels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    names = (item.get("name") if isinstance(item, Mapping) else item for item in value[:MAX_LABELS])
    return tuple(_clean(name, 100) for name in names if isinstance(name, str) and name.strip())


def _clean(value: object, limit: int) -> str:
    """At most `limit` characters; NUL and lone surrogates, which PostgreSQL cannot store, are dropped."""
    if not isinstance(value, str):
        return ""
    return value[:limit].replace("\0", "").encode("utf-8", "ignore").decode()
