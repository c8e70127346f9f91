"""Which of GitHub's events nobody heard of, as the deliveries that GitHub would have made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, Self

from database.connect import Connection
from database.erased import moment
from database.inbox import Delivery
from database.last_words import news
from database.memory import mission_of_pull_request
from database.reverts import reverted_by
from runner.gateway.words import LABELLED, OUTCOME_LABEL, STATES, label_topic, word_of
from runner.github.objects import IssueEvent

_DRIFT = timedelta(seconds=2)  # between the seconds that GitHub writes of a closing and of a comment with it


@dataclass(frozen=True, slots=True)
class Lost:
    """One delivery that never came. `identity` is the same in whichever pass it is found."""

    event: str
    payload: Mapping[str, Any]
    identity: tuple[Any, ...]

    @classmethod
    def of_issue(cls, action: str, issue: Mapping[str, Any], **rest: Any) -> Self:
        """Of an issue that is known only now; its later changes are no other find."""
        identity = (issue["number"], action, rest.get("label"))
        return cls("issues", {"action": action, "issue": issue, **rest}, identity)

    @classmethod
    def of_event(cls, event: IssueEvent) -> Self:
        """Of an event as GitHub lists it; the times are those that its webhook would have had."""
        at = event.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        closed_at = event.issue.get("closed_at") or (at if event.issue.get("state") == "closed" else None)
        item = {**event.issue, "updated_at": at, "closed_at": closed_at}
        payload: dict[str, Any] = {"action": event.kind, "sender": dict(event.actor)}
        if "pull_request" in item:
            item["merged"] = item["pull_request"].get("merged_at") is not None
            payload |= {"action": "closed", "pull_request": item}
            return cls("pull_request", payload, (event.number, "closed", item["closed_at"]))
        payload["issue"] = item
        if event.label:
            payload["label"] = {"name": event.label}
        return cls("issues", payload, (event.number, event.kind, event.label, at))

    @property
    def number(self) -> int:
        return int(self.identity[0])

    @property
    def is_completion(self) -> bool:
        """Whether a person closed an issue as done, so that a comment before may tell how."""
        issue = self.payload.get("issue") or {}
        reason = issue.get("state_reason") or "completed"
        return self.event == "issues" and self.payload["action"] == "closed" and reason == "completed"


async def lost_events(
    connection: Connection, repository: str, events: Iterable[IssueEvent], known: AbstractSet[int]
) -> list[Lost]:
    """The last word of each matter that was not heard, oldest first; of issues only those that are `known`."""
    words, lost = [], []
    for event in _last(events):
        if not await _matters(connection, repository, event, known):
            continue
        found = Lost.of_event(event)
        word = word_of(Delivery("", found.event, repository, found.payload))
        if word is not None:
            words.append(word)
            lost.append(found)
    unheard = await news(connection, repository, words)
    return [found for word, found in zip(words, lost, strict=True) if word in unheard]


def _last(events: Iterable[IssueEvent]) -> list[IssueEvent]:
    """Closed and reopened is reopened; labelled and unlabelled is unlabelled."""
    last: dict[tuple[int, str], IssueEvent] = {}
    for event in events:
        if "pull_request" in event.issue:
            topic = "merge" if event.kind in ("merged", "closed", "reopened") else None
        elif event.kind in STATES:
            topic = "state"
        else:
            topic = label_topic(event.label) if event.kind in LABELLED else None
        if topic is None:
            continue
        key = (event.number, topic)
        before = last.pop(key, None)
        # A merge closes as well, and only its own event tells the commit.
        both = before is not None and before.kind == "merged" and event.kind == "closed"
        last[key] = before if before is not None and both else event
    return list(last.values())


async def _matters(
    connection: Connection, repository: str, event: IssueEvent, known: AbstractSet[int]
) -> bool:
    is_open = event.issue.get("state") == "open"
    if "pull_request" in event.issue:
        merged = event.issue["pull_request"].get("merged_at") is not None
        reverts = merged and reverted_by(str(event.issue.get("body") or ""), repository)
        return not is_open and (
            bool(reverts) or await mission_of_pull_request(connection, repository, event.number) is not None
        )
    if event.kind in STATES:
        return event.number in known and is_open == (event.kind == "reopened")
    return event.number in known and (is_open or event.label.startswith(OUTCOME_LABEL))


def comment_before(closing: Lost, comments: Sequence[Mapping[str, Any]]) -> Lost | None:
    """The last comment by a person before `closing`, which may tell what solved the issue; None where there is none."""
    closed_at = moment(closing.payload["issue"]["closed_at"])
    for comment in reversed(comments):
        author = comment.get("user") or {}
        written = moment(comment.get("created_at"))
        if author.get("type") == "Bot" or written is None or closed_at is None:
            continue
        if written <= closed_at + _DRIFT:
            payload = {"action": "created", "issue": closing.payload["issue"], "comment": dict(comment)}
            identity = (closing.number, "comment", comment["id"])
            return Lost("issue_comment", {**payload, "sender": dict(author)}, identity)
    return None
