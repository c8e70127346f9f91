"""Reads issues from a file: what `gh issue list --json …` prints, or webhook deliveries as JSON lines.

Deliveries are raw payloads (what `gh webhook forward` prints), payloads with `event` and `delivery` added, or
{"headers": {…}, "payload": {…}}. The first character tells the two forms apart: `[` or `{`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from errors import IssueError
from runner.github.calls import REPOSITORY
from runner.issue import Issue, issue_from_github

MAX_BYTES = 64 * 1024 * 1024
MAX_ITEMS = 100_000
HEADER = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# Lines that `gh webhook forward` prints among the payloads.
CHATTER = ("Forwarding Webhook events", "No --port specified")


@dataclass(frozen=True, slots=True)
class LoadedIssue:
    """An issue of a `gh issue list` file."""

    issue: Issue
    created_at: str | None


@dataclass(frozen=True, slots=True)
class LoadedDelivery:
    """A webhook delivery. `key` is the guid, and how often the file had it before."""

    event: str
    guid: str
    key: str
    repository: str
    issue: Issue | None
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds, in its order; one of the two is empty."""

    issues: tuple[LoadedIssue, ...] = ()
    deliveries: tuple[LoadedDelivery, ...] = ()


def read_file(path: Path, repository: str, author: str) -> Loaded:
    """Reads `path`; `repository` and `author` stand in where the file names none.

    Raises IssueError with file, line and remedy.
    """
    text = _text(path)
    start = text.lstrip()[:1]
    if start == "[":
        return Loaded(issues=_issues(path, text, repository, author))
    if start in ("{", "F", "N"):  # F and N: the first letters of CHATTER
        return Loaded(deliveries=_deliveries(path, text, repository))
    raise IssueError(
        "the file is neither a JSON array nor JSON lines",
        "give what `gh issue list --json number,title,body,labels` prints, or webhook deliveries, one a line",
        file=path,
        line=1,
    )


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise IssueError(f"the file is larger than {MAX_BYTES} bytes", "split it", file=path)
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise IssueError(f"cannot be read: {reason}", "give a readable file", file=path) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise IssueError("the file is not UTF-8", "save it as UTF-8", file=path, line=line) from error


def _issues(path: Path, text: str, repository: str, author: str) -> tuple[LoadedIssue, ...]:
    found: list[LoadedIssue] = []
    lines: dict[tuple[str, int], int] = {}
    for line, data in _items(path, text):
        issue = _issue(path, line, data, _repository_of(path, line, data, repository), author)
        key = (issue.repository.lower(), issue.number)
        if key in lines:
            problem = f"issue {issue.number} stands here and in line {lines[key]}"
            raise IssueError(problem, "keep one of them", file=path, line=line)
        lines[key] = line
        created = data.get("createdAt")
        found.append(LoadedIssue(issue, created if isinstance(created, str) else None))
    return tuple(found)


def _deliveries(path: Path, text: str, repository: str) -> tuple[LoadedDelivery, ...]:
    found: list[LoadedDelivery] = []
    times: dict[str, int] = {}
    for line, data in _items(path, text):
        headers, payload = _envelope(path, line, data)
        event = headers.get("x-github-event") or str(payload.pop("event", "") or _event_of(payload))
        if not event:
            raise IssueError("the delivery names no event", 'add "event": "issues"', file=path, line=line)
        name = _repository_of(path, line, payload, repository)
        body = json.dumps(payload, sort_keys=True)
        guid = headers.get("x-github-delivery") or str(payload.pop("delivery", "") or "")
        guid = guid or str(uuid5(NAMESPACE_URL, f"{name}/{event}/{body}"))
        for what, value in (("event", event), ("delivery id", guid)):
            if not HEADER.fullmatch(value):  # it becomes a header
                problem = f"the {what} is {value[:100]!r}"
                raise IssueError(problem, "use letters, digits, _ . and -", file=path, line=line)
        times[guid] = times.get(guid, 0) + 1
        issue = None
        if isinstance(payload.get("issue"), Mapping):
            issue = _issue(path, line, payload["issue"], name, "")
        found.append(LoadedDelivery(event, guid, f"{guid}#{times[guid]}", name, issue, payload))
    return tuple(found)


def _issue(path: Path, line: int, data: Mapping[str, Any], repository: str, author: str) -> Issue:
    try:
        if not data.get("user") and not data.get("author"):
            data = {**data, "author": {"login": author}}
        issue = issue_from_github(data, repository)
    except IssueError as error:
        raise IssueError(error.problem, error.fix, file=path, line=line) from error
    if issue.author_is_bot and not issue.author.endswith("[bot]"):
        # `gh` prints app/renovate for the account that REST and webhooks call renovate[bot].
        issue = replace(issue, author=f"{issue.author.removeprefix('app/')}[bot]")
    return issue


def _envelope(path: Path, line: int, data: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    if "payload" not in data or "headers" not in data:
        return {}, dict(data)
    payload = data["payload"]
    try:
        payload = json.loads(payload) if isinstance(payload, str) else payload
    except (ValueError, RecursionError) as error:
        raise IssueError(
            "`payload` is no JSON", "give the body as GitHub sent it", file=path, line=line
        ) from error
    if not isinstance(payload, dict) or not isinstance(data["headers"], dict):
        problem = "`headers` and `payload` must be objects"
        raise IssueError(problem, 'write {"headers": {…}, "payload": {…}}', file=path, line=line)
    headers = {
        str(k).lower(): str(v[0] if isinstance(v, list) and v else v) for k, v in data["headers"].items()
    }
    return headers, dict(payload)


def _event_of(payload: Mapping[str, Any]) -> str:
    if "issue" in payload:
        return "issue_comment" if "comment" in payload else "issues"
    for event in ("pull_request", "workflow_run"):
        if event in payload:
            return event
    return "push" if "ref" in payload and "after" in payload else ""


def _repository_of(path: Path, line: int, data: Mapping[str, Any], default: str) -> str:
    """owner/name from a payload's `repository`, or from the `url` that `gh` prints."""
    repository = data.get("repository")
    name = repository.get("full_name") if isinstance(repository, Mapping) else None
    if name is None and isinstance(data.get("url"), str):
        parts = urlsplit(data["url"]).path.strip("/").split("/")
        name = "/".join(parts[:2]) if len(parts) == 4 and parts[2] in ("issues", "pull") else None
    if name is None:
        return default
    if not isinstance(name, str) or not REPOSITORY.fullmatch(name):
        raise IssueError(f"{name!r} is no repository", "write owner/name", file=path, line=line)
    return name


def _items(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object of an array or of a sequence, with the line (from 1) on which it starts."""
    decoder = json.JSONDecoder()
    is_array = text.lstrip().startswith("[")
    if is_array:
        _decode(path, 1, partial(json.loads, text))  # the walk below trusts the commas
    at, line, counted, count = (text.index("[") + 1 if is_array else 0), 1, 0, 0
    while True:
        at = _skip(text, at, ", \t\r\n" if is_array else " \t\r\n")
        line += text.count("\n", counted, at)
        counted = at
        if at >= len(text) or text[at] == "]":
            return
        if not is_array and text.startswith(CHATTER, at):
            at = text.find("\n", at) % (len(text) + 1)  # -1, no further line, becomes the end
            continue
        data, at = _decode(path, line, partial(decoder.raw_decode, text, at))
        count += 1
        if count > MAX_ITEMS:
            raise IssueError(f"more than {MAX_ITEMS} entries", "split the file", file=path, line=line)
        if not isinstance(data, dict):
            problem = f"a JSON {type(data).__name__} stands where an issue or a delivery should"
            raise IssueError(problem, "write an object", file=path, line=line)
        yield line, data


def _decode(path: Path, line: int, decode: Callable[[], Any]) -> Any:
    try:
        return decode()
    except json.JSONDecodeError as error:
        raise IssueError(
            f"no JSON: {error.msg}", "mend or remove the entry", file=path, line=error.lineno
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or nested too deep
        raise IssueError(f"no usable JSON: {error}", "remove the entry", file=path, line=line) from error


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at
