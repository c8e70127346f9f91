"""Past works as `gh pr list --json …` prints them: read and checked as a whole before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from errors import HistoryError
from json_array import read_array

MAX_TEXT = 65_536  # characters of a title or body; GitHub's own limit
MAX_NAMES = 1_000  # labels or files of one work
MAX_PROBLEMS = 20  # told at once
AGENT_LABEL = "agent:"
FIELDS = "number,title,body,labels,files,state,mergedAt,closedAt,createdAt,author,url,mergeCommit"
_SHAPE = f"write the array that `gh pr list --state all --limit 1000 --json {FIELDS}` prints"
_OID = re.compile(r"[0-9A-Fa-f]{40,64}")
_URL = re.compile(r"https://[^/]+/([\w.-]+/[\w.-]+)/pull/\d+")


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One entry of the file."""

    number: int
    title: str
    body: str
    labels: tuple[str, ...]
    """Without the `agent:` ones."""
    agents: tuple[str, ...]
    """Values of its `agent:<name>` labels."""
    files: tuple[str, ...]
    author: str
    """Login; empty where the file does not say."""
    repository: str
    """owner/name from its URL; empty where the file has none."""
    state: Literal["merged", "closed", "open", "unknown"]
    created_at: datetime | None
    ended_at: datetime | None
    """When it was merged or closed."""
    merge_commit: str
    """Empty where the file does not say."""


def read_pull_requests(path: Path) -> tuple[PullRequest, ...]:
    """Every entry, in the file's order. Raises HistoryError that names the file and the first bad entries (from 0)."""
    data = read_array(
        path,
        HistoryError,
        items="pull requests",
        shape=_SHAPE,
        too_big="split it: each part may be loaded",
    )
    found: list[PullRequest] = []
    problems: list[HistoryError] = []
    for index, item in enumerate(data):
        try:
            found.append(_pull_request(item))
        except _Malformed as broken:
            problems.append(HistoryError(f"entry {index}: {broken.problem}", broken.fix, file=path))
            if len(problems) == MAX_PROBLEMS:
                break
    if problems:
        raise HistoryError.together(problems)
    return tuple(found)


class _Malformed(Exception):
    def __init__(self, problem: str, fix: str = _SHAPE) -> None:
        self.problem = problem
        self.fix = fix


def _pull_request(item: object) -> PullRequest:
    if not isinstance(item, Mapping):
        raise _Malformed(f"a {type(item).__name__}, not an object")
    number, title = item.get("number"), item.get("title")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 2**31:
        raise _Malformed(f"`number` is {number!r:.50}, not a whole number from 1")
    if not isinstance(title, str) or not title.strip():
        raise _Malformed(f"`title` is {title!r:.50}, not a text")
    body = item.get("body") or ""
    if not isinstance(body, str):
        raise _Malformed(f"`body` is a {type(body).__name__}, not a text")
    labels = _names(item, "labels", "name")
    merged_at, closed_at = _moment(item, "mergedAt"), _moment(item, "closedAt")
    author = item.get("author")
    url = _URL.fullmatch(str(item.get("url") or ""))
    return PullRequest(
        number=number,
        title=_storable(title),
        body=_storable(body),
        labels=tuple(label for label in labels if not label.startswith(AGENT_LABEL)),
        agents=tuple(name for name in map(_agent_name, labels) if name),
        files=_names(item, "files", "path"),
        author=_storable(str(author.get("login") or "")) if isinstance(author, Mapping) else "",
        repository=url[1] if url else "",
        state=_state(item, merged_at, closed_at),
        created_at=_moment(item, "createdAt"),
        ended_at=merged_at or closed_at,
        merge_commit=_commit(item.get("mergeCommit")),
    )


def _commit(value: object) -> str:
    oid = value.get("oid") if isinstance(value, Mapping) else None
    return oid.lower() if isinstance(oid, str) and _OID.fullmatch(oid) else ""


def _agent_name(label: str) -> str:
    return label.removeprefix(AGENT_LABEL).strip() if label.startswith(AGENT_LABEL) else ""


def _state(
    item: Mapping[str, Any], merged_at: datetime | None, closed_at: datetime | None
) -> Literal["merged", "closed", "open", "unknown"]:
    state = item.get("state")
    if state is not None and state not in ("MERGED", "CLOSED", "OPEN"):
        raise _Malformed(f"`state` is {state!r:.50}, not MERGED, CLOSED or OPEN")
    if merged_at is not None:
        return "merged"
    if state == "MERGED":
        raise _Malformed("it is MERGED and has no `mergedAt`")
    if state == "OPEN":
        return "open"
    # Without a time, nobody knows when the failure happened.
    return "closed" if closed_at is not None else "unknown"


def _names(item: Mapping[str, Any], key: str, field: str) -> tuple[str, ...]:
    """The texts in a list of either texts or `{field: text}`."""
    values = item.get(key)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise _Malformed(f"`{key}` is a {type(values).__name__}, not an array")
    names = [value.get(field) if isinstance(value, Mapping) else value for value in values[:MAX_NAMES]]
    if not all(isinstance(name, str) for name in names):
        raise _Malformed(f"`{key}` holds something without a `{field}`")
    return tuple(_storable(str(name)) for name in names)


def _moment(item: Mapping[str, Any], key: str) -> datetime | None:
    value = item.get(key)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as broken:
        raise _Malformed(f"`{key}` is {value!r:.50}", "write a time as in ISO 8601") from broken
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _storable(text: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL cannot hold."""
    return text[:MAX_TEXT].replace("\0", "").encode("utf-8", "ignore").decode()


def repository_of(pull_requests: Sequence[PullRequest], path: Path) -> str | None:
    """The repository that all entries' URLs name; None where none has one. Raises HistoryError where they differ."""
    names = sorted({pull_request.repository for pull_request in pull_requests} - {""})
    if len(names) > 1:
        raise HistoryError(
            f"it mixes {', '.join(names[:5])}", "load each repository from a file of its own", file=path
        )
    return names[0] if names else None
