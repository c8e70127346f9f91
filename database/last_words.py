"""The newest word on each matter, by GitHub's clock: events come late, twice, in any order, and some are found.

A word that is older than what was heard, or the same once more, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from database.connect import Connection


@dataclass(frozen=True, slots=True)
class Word:
    """What was said about one matter of an issue or a pull request."""

    repository: str
    number: int
    topic: str
    """`state`, `label <name>`, `agent`, `merge`, `commit` for what it made; of a mission, with its id,
    `verdict`, `closing`, `fix` or `comment`."""
    said: str
    at: datetime


# GitHub's parts round to different seconds. Within two, nobody says the same twice without the opposite in between.
_HEAR = """
INSERT INTO last_words AS w (repository, number, topic, said, said_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (repository, number, topic) DO UPDATE SET said = EXCLUDED.said, said_at = EXCLUDED.said_at
WHERE w.said_at <= EXCLUDED.said_at
  AND (w.said <> EXCLUDED.said OR w.said_at < EXCLUDED.said_at - interval '2 seconds')
RETURNING true
"""
_NEWS = """
SELECT n.place FROM unnest($2::integer[], $3::text[], $4::text[], $5::timestamptz[])
    WITH ORDINALITY AS n (number, topic, said, said_at, place)
WHERE NOT EXISTS (
    SELECT FROM last_words w WHERE w.repository = $1 AND w.number = n.number AND w.topic = n.topic
    AND NOT (w.said_at <= n.said_at AND (w.said <> n.said OR w.said_at < n.said_at - interval '2 seconds')))
"""
_MERGED_AS = """
SELECT number FROM last_words
WHERE repository = $1 AND topic = 'commit' AND EXISTS (SELECT FROM unnest($2::text[]) AS c WHERE starts_with(said, c))
"""


async def hear(connection: Connection, word: Word) -> bool:
    """Note a word, in the transaction that follows it; False where a newer one was heard, or this one."""
    row = await connection.fetchrow(_HEAR, word.repository, word.number, word.topic, word.said, word.at)
    return row is not None


async def news(connection: Connection, repository: str, words: Sequence[Word]) -> list[Word]:
    """Which of `words`, all of one repository, `hear` would take."""
    rows = await connection.fetch(
        _NEWS,
        repository,
        [word.number for word in words],
        [word.topic for word in words],
        [word.said for word in words],
        [word.at for word in words],
    )
    return [words[row["place"] - 1] for row in rows]


async def merged_as(connection: Connection, repository: str, commits: Sequence[str]) -> list[int]:
    """The pull requests whose merge made one of `commits` (or began like it), as far as it was heard lately."""
    if not commits:
        return []
    return [row["number"] for row in await connection.fetch(_MERGED_AS, repository, list(commits))]
