"""What `forget` leaves behind so that erased words stay erased: digests of people for a while, and of their works."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from database.connect import Connection


def login_digest(login: str) -> str:
    """How `erasures` names a person."""
    return hashlib.sha256(login.lower().encode()).hexdigest()


def work_digest(repository: str, number: int) -> str:
    """How `erased_works` names an issue or a pull request."""
    return hashlib.sha256(f"{repository}#{number}".lower().encode()).hexdigest()


_WORKS = "SELECT work_digest FROM erased_works WHERE work_digest = ANY($1)"
_PEOPLE = "SELECT login_digest, erased_at FROM erasures"


async def erased_numbers(connection: Connection, repository: str, numbers: Iterable[int]) -> set[int]:
    """Which of these issues and pull requests were erased."""
    of = {work_digest(repository, number): number for number in numbers}
    return {of[row["work_digest"]] for row in await connection.fetch(_WORKS, list(of))}


class ErasedPeople:
    """Who was erased lately, and when."""

    def __init__(self, erased_at: Mapping[str, datetime]) -> None:
        self._erased_at = erased_at

    @classmethod
    async def read(cls, connection: Connection) -> ErasedPeople:
        return cls({row["login_digest"]: row["erased_at"] for row in await connection.fetch(_PEOPLE)})

    def wrote(self, login: str, at: datetime | None = None) -> bool:
        """Whether what `login` wrote or did at that moment (None: at some) is among what was erased."""
        erased_at = self._erased_at.get(login_digest(login)) if login else None
        return erased_at is not None and (at is None or at <= erased_at)


def subject(payload: Mapping[str, Any]) -> tuple[int | None, list[tuple[str, datetime | None]]]:
    """The number that an event is about, and who wrote its texts when."""
    number, written = None, []
    for name in ("issue", "pull_request", "comment"):
        item = payload.get(name)
        if isinstance(item, Mapping):
            user = item.get("user")
            login = str(user.get("login") or "") if isinstance(user, Mapping) else ""
            written.append((login, moment(item.get("created_at"))))
            if name != "comment" and isinstance(item.get("number"), int):
                number = item["number"]
    return number, written


def moment(value: object) -> datetime | None:
    """GitHub's form of a time; None where it is none."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo else None
