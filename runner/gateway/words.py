"""Which event is a word on which matter: later ones overrule earlier ones, whenever they are heard."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from database.connect import Connection
from database.erased import moment
from database.inbox import Delivery
from database.last_words import Word, hear

STATES = frozenset({"closed", "reopened"})
LABELLED = frozenset({"labeled", "unlabeled"})
OUTCOME_LABEL = "outcome:"


def word_of(delivery: Delivery) -> Word | None:
    """What a delivery says on a matter of which the last word counts; None where it is no such event."""
    payload = delivery.payload
    action = payload.get("action")
    if delivery.event == "issues" and action in STATES | LABELLED | {"opened"}:
        item, topic, said = payload.get("issue"), "state", str(action)
        if action in LABELLED:
            label = payload.get("label")
            topic = label_topic(str(label.get("name") or "") if isinstance(label, Mapping) else "")
    elif delivery.event == "pull_request" and action == "closed":
        item, topic, said = payload.get("pull_request"), "merge", ""
    else:
        return None
    number = item.get("number") if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or not isinstance(number, int) or not 0 < number < 2**31:
        return None
    if topic == "merge":
        said = "merged" if item.get("merged") else "closed"
    at = moment_of(item, "closed_at" if action == "closed" else "updated_at")
    return None if at is None else Word(delivery.repository, number, topic, said, at)


def label_topic(name: str) -> str:
    """The matter that a label is."""
    return f"label {name.lower()[:100]}"


def moment_of(item: Mapping[str, Any], field: str) -> datetime | None:
    """When GitHub says that it was; a payload that somebody made may lack it, and is taken in the order it comes."""
    return moment(item.get(field))


async def is_last(
    connection: Connection, repository: str, number: int, topic: str, said: str, at: datetime | None
) -> bool:
    """Whether nothing later was said on `topic` of an issue, which notes it; without a time it counts as it comes."""
    return at is None or await hear(connection, Word(repository, number, topic, said, at))
