"""The local GitHub's state: one SQLite file, so that it survives a restart.

Every statement is small (well under a millisecond), so it runs on the event loop; synchronous code between
`BEGIN` and `COMMIT` then needs no locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import SettingsError

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    login TEXT PRIMARY KEY COLLATE NOCASE, type TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    digest TEXT PRIMARY KEY, login TEXT NOT NULL COLLATE NOCASE, owner TEXT COLLATE NOCASE, expires REAL);
CREATE TABLE IF NOT EXISTS repositories (
    name TEXT PRIMARY KEY COLLATE NOCASE, default_branch TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS collaborators (
    repository TEXT COLLATE NOCASE, login TEXT COLLATE NOCASE, permission TEXT NOT NULL,
    PRIMARY KEY (repository, login));
CREATE TABLE IF NOT EXISTS issues (
    id INTEGER PRIMARY KEY, repository TEXT NOT NULL COLLATE NOCASE, number INTEGER NOT NULL,
    title TEXT NOT NULL, body TEXT, author TEXT NOT NULL, state TEXT NOT NULL, state_reason TEXT,
    closed_by TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, closed_at TEXT,
    UNIQUE (repository, number));
CREATE TABLE IF NOT EXISTS issue_labels (
    issue INTEGER NOT NULL REFERENCES issues, name TEXT NOT NULL COLLATE NOCASE, UNIQUE (issue, name));
CREATE TABLE IF NOT EXISTS comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, issue INTEGER NOT NULL REFERENCES issues, author TEXT NOT NULL,
    body TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS comments_of_issue ON comments (issue);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, issue INTEGER NOT NULL REFERENCES issues, event TEXT NOT NULL,
    actor TEXT NOT NULL, label TEXT, created_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_of_issue ON events (issue);
CREATE TABLE IF NOT EXISTS objects (
    sha TEXT PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS refs (
    repository TEXT COLLATE NOCASE, name TEXT, sha TEXT NOT NULL, PRIMARY KEY (repository, name));
CREATE TABLE IF NOT EXISTS pulls (
    issue INTEGER PRIMARY KEY REFERENCES issues, head TEXT NOT NULL, head_sha TEXT NOT NULL,
    base TEXT NOT NULL, base_sha TEXT NOT NULL, merged_at TEXT, merged_by TEXT, merge_sha TEXT);
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL COLLATE NOCASE, workflow TEXT NOT NULL,
    title TEXT NOT NULL, status TEXT NOT NULL, conclusion TEXT, branch TEXT NOT NULL, sha TEXT NOT NULL,
    inputs TEXT NOT NULL, actor TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, guid TEXT NOT NULL, event TEXT NOT NULL, action TEXT,
    line TEXT NOT NULL, payload TEXT NOT NULL, load_key TEXT UNIQUE, redelivery INTEGER NOT NULL,
    status TEXT, status_code INTEGER, delivered_at TEXT, duration REAL);
CREATE INDEX IF NOT EXISTS deliveries_pending ON deliveries (id) WHERE status IS NULL;
CREATE TABLE IF NOT EXISTS reactions (
    repository TEXT COLLATE NOCASE, number INTEGER, action TEXT, PRIMARY KEY (repository, number, action));
"""


class Store:
    """Rows are `sqlite3.Row`, read by name. Raises SettingsError when another process has the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        self._db.row_factory = sqlite3.Row
        self._depth = 0
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            self._db.close()
            locked = "locked" in str(error)
            raise SettingsError(
                f"the local GitHub cannot open {path}: {error}",
                "stop the other local GitHub" if locked else "give another --data folder",
            ) from error

    def close(self) -> None:
        self._db.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        found = self._db.execute(sql, values).fetchone()
        return found if isinstance(found, sqlite3.Row) else None

    def run(self, sql: str, *values: object) -> int:
        """The number of rows that changed."""
        return self._db.execute(sql, values).rowcount

    def insert(self, sql: str, *values: object) -> int:
        """The id of the new row."""
        return self._db.execute(sql, values).lastrowid or 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; an inner one joins the outer. No `await` may stand inside."""
        if self._depth:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        else:
            self._db.execute("COMMIT")
        finally:
            self._depth = 0
