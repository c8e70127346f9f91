"""How long what grows is kept, from `retention.yaml` and the environment, and the removal of what is older."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from database.connect import Connection
from errors import SettingsError

FILE = Path(__file__).with_name("retention.yaml")
FOREVER = "forever"
LONGEST_DAYS = 36_500
# Tables whose rows are kept as another entry says.
_ENTRY_OF = {
    "spending_totals": "spending",
    "erasures": "backups",
    "agent_memory_embeddings": "agent_memories",
    "reverts": "agent_memories",
    "last_words": "inbox",
}
BATCH = 500  # rows removed by one statement: locks are short
BATCHES = 20  # of one table in one call: the caller gets a turn in between


@dataclass(frozen=True, slots=True)
class Retention:
    """Days by entry of retention.yaml; None: for ever."""

    days: Mapping[str, int | None]

    def of_table(self, table: str) -> str:
        """In words: days, `forever`, or empty where a table does not grow with the work."""
        entry = _ENTRY_OF.get(table, table)
        if entry not in self.days:
            return ""
        return FOREVER if self.days[entry] is None else str(self.days[entry])


def load_retention(environment: Mapping[str, str]) -> Retention:
    """The defaults, and what `environment` sets instead. Raises SettingsError."""
    days: dict[str, int | None] = {}
    for name, entry in _defaults().items():
        setting = entry.get("setting", "")
        value = environment.get(setting, "").strip() or str(entry["days"])
        if value == FOREVER:
            days[name] = None
        elif value.isascii() and value.isdecimal() and 1 <= int(value) <= LONGEST_DAYS:
            days[name] = int(value)
        else:
            raise SettingsError(
                f"{setting} is {value[:20]!r}", f"use days from 1 to {LONGEST_DAYS}, or {FOREVER}"
            )
    return Retention(days)


@cache
def _defaults() -> Mapping[str, Mapping[str, Any]]:
    defaults: Mapping[str, Mapping[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return defaults


# Each takes days and the most rows to remove. SKIP LOCKED: whoever works on a row keeps it for now.
_REMOVE = {
    "inbox": """
DELETE FROM inbox WHERE delivery_id = ANY(ARRAY(
    SELECT delivery_id FROM inbox WHERE processed_at < now() - make_interval(days => $1)
    ORDER BY processed_at LIMIT $2 FOR UPDATE SKIP LOCKED))
""",
    "outbox": """
DELETE FROM outbox WHERE id = ANY(ARRAY(
    SELECT id FROM outbox
    WHERE done_at < now() - make_interval(days => $1)
       OR done_at IS NULL AND attempts >= 12 AND not_before < now() - make_interval(days => $1)  -- given up
    LIMIT $2 FOR UPDATE SKIP LOCKED))
""",
    "missions": "SELECT prune_missions(now() - make_interval(days => $1), $2)",
    "agent_memories": "SELECT prune_memories(now() - make_interval(days => $1), $2)",
    "spending": """
DELETE FROM spending WHERE id = ANY(ARRAY(
    SELECT id FROM spending WHERE reserved_at < now() - make_interval(days => $1) ORDER BY reserved_at LIMIT $2))
""",
    # A mission's total goes with its last call; a live mission's must stay, or its cap would start anew.
    "spending_totals": """
DELETE FROM spending_totals WHERE (scope, period) IN (
    SELECT scope, period FROM spending_totals t
    WHERE scope = 'day' AND period < to_char(now() - make_interval(days => $1), 'YYYY-MM-DD')
       OR scope = 'month' AND period < to_char(now() - make_interval(days => $1), 'YYYY-MM')
       OR scope = 'mission' AND NOT EXISTS (SELECT FROM spending s WHERE s.mission_id::text = t.period)
          AND NOT EXISTS (SELECT FROM missions m WHERE m.id::text = t.period AND m.finished_at IS NULL)
    LIMIT $2)
""",
    # The last backup that knew the person is gone, so nothing can bring the words back.
    "erasures": """
DELETE FROM erasures WHERE login_digest = ANY(ARRAY(
    SELECT login_digest FROM erasures WHERE erased_at < now() - make_interval(days => $1) LIMIT $2))
""",
    "last_words": """
DELETE FROM last_words WHERE (repository, number, topic) IN (
    SELECT repository, number, topic FROM last_words WHERE said_at < now() - make_interval(days => $1) LIMIT $2)
""",
    "reverts": """
DELETE FROM reverts WHERE (repository, number) IN (
    SELECT repository, number FROM reverts WHERE reverted_at < now() - make_interval(days => $1) LIMIT $2)
""",
    "erased_works": """
DELETE FROM erased_works WHERE work_digest = ANY(ARRAY(
    SELECT work_digest FROM erased_works WHERE erased_on < now() - make_interval(days => $1) LIMIT $2))
""",
}
_LOCK = "SELECT pg_try_advisory_lock(hashtext('prune'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('prune'))"


async def prune(
    connection: Connection, retention: Retention, *, batch: int = BATCH
) -> Mapping[str, int] | None:
    """Remove what is older than its retention, in short transactions; how many rows by table, where there were any.

    As the gateway or the owner, outside a transaction. None: another caller is at it. A table with more than
    BATCHES × `batch` old rows is continued by the next call.
    """
    if not await connection.fetchval(_LOCK):
        return None
    removed: dict[str, int] = {}
    try:
        for table, statement in _REMOVE.items():
            days = retention.days[_ENTRY_OF.get(table, table)]
            for _ in range(BATCHES if days is not None else 0):
                count = await _remove(connection, statement, days, batch)
                if count:
                    removed[table] = removed.get(table, 0) + count
                if count < batch:
                    break
    finally:
        if not connection.is_closed():
            await connection.execute(_UNLOCK)
    return removed


async def _remove(connection: Connection, statement: str, days: int | None, most: int) -> int:
    if statement.startswith("SELECT"):
        count: int = await connection.fetchval(statement, days, most)
        return count
    status = await connection.execute(statement, days, most)
    return int(status.rsplit(" ", 1)[1])


# Partitions count with their table.
_GROWS = """
SELECT c.relname::text AS name, sum(pg_total_relation_size(t.relid))::bigint AS bytes,
       sum(greatest(s.n_live_tup, 0))::bigint AS rows
FROM pg_class c CROSS JOIN LATERAL pg_partition_tree(c.oid) AS t JOIN pg_stat_all_tables s ON s.relid = t.relid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'p' AND NOT c.relispartition
GROUP BY c.relname
UNION ALL
SELECT c.relname::text, pg_total_relation_size(c.oid), greatest(s.n_live_tup, 0)
FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
ORDER BY bytes DESC
"""


@dataclass(frozen=True, slots=True)
class Size:
    """What a table takes now, indexes and partitions included; `rows` as PostgreSQL estimates them."""

    table: str
    rows: int
    bytes: int


async def sizes(connection: Connection) -> list[Size]:
    """Every table, the largest first."""
    return [Size(row["name"], row["rows"], row["bytes"]) for row in await connection.fetch(_GROWS)]
