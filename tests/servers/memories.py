"""Memories for tests, stored as a library user stores them."""

from __future__ import annotations

import random
from typing import Literal
from uuid import UUID, uuid4

from database.connect import Pool
from database.memory import Embedded, Outcome, store_outcome, vector_text

DIMENSION = 384


def vector(seed: int, near: Embedded | None = None, share: float = 0.0) -> Embedded:
    """A random vector as MiniLM's would look; with `near`, `share` of it points the same way."""
    chance = random.Random(seed)
    numbers = [chance.gauss(0, 1) for _ in range(DIMENSION)]
    if near is not None:
        other = [float(number) for number in near.vector.strip("[]").split(",")]
        numbers = [share * o + (1 - share) * n for o, n in zip(other, numbers, strict=True)]
    return Embedded(vector_text(numbers), "minilm", "test")


async def remember(
    pool: Pool,
    agent: str,
    title: str,
    *,
    body: str = "",
    state: Literal["pending", "succeeded", "failed"] = "succeeded",
    embedded: Embedded | None = None,
    files: tuple[str, ...] = (),
    number: int = 1,
    mission: UUID | None = None,
    solution: str = "",
    author: str = "",
    minutes: float = 12.0,
) -> UUID:
    """One outcome of `agent`; the memory's id."""
    outcome = Outcome(
        agent_name=agent,
        mission_id=mission or uuid4(),
        repository="o/r",
        issue_number=number,
        issue_title=title,
        issue_body=body,
        issue_author=author,
        solution_approach=solution or f"solved by {agent}",
        state=state,
        proven_by="a test",
        files=files,
        resolution_time_minutes=minutes,
    )
    return await store_outcome(pool, outcome, embedded)
