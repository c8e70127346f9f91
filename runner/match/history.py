"""What agents really did before: past works as `gh pr list --json` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from errors import HistoryError
from json_array import read_array
from runner.issue import AGENT_LABEL

MAX_TEXT = 65_536  # characters of a title or body; GitHub's own limit
_SHAPE = "write the array that `gh pr list --json number,title,body,labels,files,mergedAt` prints"


@dataclass(frozen=True, slots=True)
class Work:
    """One finished piece of work."""

    number: int
    agent: str | None
    """Who did it, from its `agent:<name>` label; the first where there are several."""
    title: str
    body: str
    labels: tuple[str, ...]
    """All labels but the `agent:` ones."""
    files: tuple[str, ...]
    merged_at: str
    """ISO 8601 in UTC, so that text order is time order; empty where unknown."""


def load_history(path: Path) -> tuple[Work, ...]:
    """The merged works in `path`, oldest first. Work that was closed without a merge is left out.

    Raises HistoryError that names the file and the entry.
    """
    data = read_array(
        path, HistoryError, items="works", shape=_SHAPE, too_big="give fewer works, the newest count most"
    )
    works = [_work(item, index, path) for index, item in enumerate(data) if not _closed_unmerged(item)]
    return tuple(sorted(works, key=lambda work: (work.merged_at, work.number)))


def _closed_unmerged(item: object) -> bool:
    return isinstance(item, Mapping) and "mergedAt" in item and item["mergedAt"] is None


def _work(item: object, index: int, path: Path) -> Work:
    if not isinstance(item, Mapping):
        raise HistoryError(f"entry {index} is no object", _SHAPE, file=path)
    number, title, body = item.get("number"), item.get("title"), item.get("body")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(title, str):
        raise HistoryError(f"entry {index} has no whole `number` or no `title`", _SHAPE, file=path)
    labels = _names(item, "labels", "name")
    agents = [label.removeprefix(AGENT_LABEL).strip() for label in labels if label.startswith(AGENT_LABEL)]
    return Work(
        number=number,
        agent=next(filter(None, agents), None),
        title=title[:MAX_TEXT],
        body=body[:MAX_TEXT] if isinstance(body, str) else "",
        labels=tuple(label for label in labels if not label.startswith(AGENT_LABEL)),
        files=_names(item, "files", "path"),
        merged_at=_utc(item.get("mergedAt"), index, path),
    )


def _names(item: Mapping[str, Any], key: str, field: str) -> tuple[str, ...]:
    """The texts in a list of either texts or `{field: text}`."""
    values = item.get(key)
    if not isinstance(values, list):
        return ()
    names = (value.get(field) if isinstance(value, Mapping) else value for value in values)
    return tuple(name for name in names if isinstance(name, str) and name)


def _utc(value: object, index: int, path: Path) -> str:
    if value is None:
        return ""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as broken:
        raise HistoryError(
            f"entry {index}: `mergedAt` is {value!r}", "write a time as in ISO 8601", file=path
        ) from broken
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat()
