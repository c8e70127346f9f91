"""What a pull request takes back or closes, as its body says, and what was taken back before it was known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from database.connect import Connection
from database.erased import erased_numbers

_NAME = r"[\w.-]+/[\w.-]+"
# #12 · owner/name#12 · https://github.com/owner/name/pull/12
_PULL = rf"(?:(?:{_NAME})?#\d{{1,9}}\b|https?://[^\s/]+/{_NAME}/(?:pull|issues)/\d{{1,9}}\b)"
# 1a2b3c4 · owner/name@1a2b3c4 · https://github.com/owner/name/commit/1a2b3c4
_COMMIT = rf"(?:(?:{_NAME}@|https?://[^\s/]+/{_NAME}/commit/)?[0-9a-f]{{7,40}}\b)"
_AND = r"(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s*&\s*)"
# GitHub's Revert button writes the first, `git revert` the second; people write lists of them. Only where a line
# begins: in the middle of a sentence it is talk about a revert.
_STATEMENT = re.compile(
    rf"^[ \t]*(?:[-*+][ \t]+)?(?:This\s+)?reverts?:?\s+(?:"
    rf"(?:(?:PRs?|pull\s+requests?)\s+)?(?P<pulls>{_PULL}(?:{_AND}{_PULL})*)"
    rf"|commits?\s+(?P<commits>{_COMMIT}(?:{_AND}{_COMMIT})*))",
    re.MULTILINE | re.IGNORECASE,
)
_ONE_PULL = re.compile(rf"(?:https?://[^\s/]+/)?(?P<name>{_NAME})?(?:#|/pull/|/issues/)(?P<number>\d+)")
_ONE_COMMIT = re.compile(
    rf"(?:(?:https?://[^\s/]+/)?(?P<name>{_NAME})(?:@|/commit/))?(?P<sha>[0-9a-f]{{7,40}})\b", re.IGNORECASE
)
# GitHub's words, with or without a colon (docs.github.com, "Linking a pull request to an issue").
_CLOSES = re.compile(rf"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+(?P<issue>{_PULL})", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)  # a template's hints


@dataclass(frozen=True, slots=True)
class Reverted:
    """What one body takes back, in its order, each once."""

    numbers: tuple[int, ...]
    """Of pull requests."""
    commits: tuple[str, ...]
    """Beginnings of their ids, lower case."""

    def __bool__(self) -> bool:
        return bool(self.numbers or self.commits)


def reverted_by(body: str, repository: str) -> Reverted:
    """What of `repository` (owner/name, in which the body stands) the body of a pull request takes back."""
    numbers: dict[int, None] = {}
    commits: dict[str, None] = {}
    for statement in _STATEMENT.finditer(_COMMENT.sub("", body)):
        numbers |= dict.fromkeys(_numbers(statement["pulls"] or "", repository))
        for commit in _ONE_COMMIT.finditer(statement["commits"] or ""):
            if (commit["name"] or repository).lower() == repository.lower():
                commits[commit["sha"].lower()] = None
    return Reverted(tuple(numbers), tuple(commits))


def closed_by(body: str, repository: str) -> tuple[int, ...]:
    """The issues of `repository` (owner/name, in which the body stands) that merging the pull request closes."""
    closings = _CLOSES.finditer(_COMMENT.sub("", body))
    return tuple(dict.fromkeys(n for closing in closings for n in _numbers(closing["issue"], repository)))


def _numbers(pulls: str, repository: str) -> list[int]:
    """Those of `repository`."""
    found = _ONE_PULL.finditer(pulls)
    return [
        int(each["number"]) for each in found if (each["name"] or repository).lower() == repository.lower()
    ]


@dataclass(frozen=True, slots=True)
class Revert:
    """One pull request took another back."""

    number: int
    by: int
    """0 where that one was erased."""
    at: datetime

    @property
    def verdict(self) -> str:
        """As an outcome says what proved it."""
        return f"pull request #{self.by} merged" if self.by else "an erased pull request merged"


# Of one that was erased, as `forget` leaves it.
_NOTE = """
INSERT INTO reverts (repository, number, reverted_by, reverted_at)
SELECT $1, number, by, CASE by WHEN 0 THEN date_trunc('day', at) ELSE at END
FROM unnest($2::integer[], $3::integer[], $4::timestamptz[]) AS r (number, by, at)
ON CONFLICT DO NOTHING
"""
_NOTED = "SELECT number, reverted_by, reverted_at FROM reverts WHERE repository = $1 AND number = ANY($2)"


async def note_reverts(connection: Connection, repository: str, reverts: Sequence[Revert]) -> None:
    """Remember what was taken back, for when its work becomes known; an erased one never does."""
    erased = await erased_numbers(connection, repository, {n for r in reverts for n in (r.number, r.by)})
    reverts = [replace(r, by=0) if r.by in erased else r for r in reverts if r.number not in erased]
    numbers, by, at = [r.number for r in reverts], [r.by for r in reverts], [r.at for r in reverts]
    await connection.execute(_NOTE, repository, numbers, by, at)


async def noted_reverts(connection: Connection, repository: str, numbers: Iterable[int]) -> list[Revert]:
    """Which of the pull requests `numbers` were taken back."""
    return [Revert(*row) for row in await connection.fetch(_NOTED, repository, list(numbers))]
