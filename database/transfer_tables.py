"""Which tables an export holds, in which order they can be filled, and how each is read: asked of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from database.connect import Connection

# They tell what this database is, not what is in it.
_STAY = ("schema_migrations", "imports")
# A fresh deployment has rows here that nobody would miss; rows in any other table are somebody's data.
SEEDED = frozenset(
    {
        "agents",
        "agent_performance",
        "agent_deployments",
        "spending_caps",
        "pauses",
        "embedding_model",
        "reconciled",
    }
)

# Generated columns are made again; identity columns number rows anew, in the same order.
_TABLES = """
SELECT c.relname::text AS name,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attgenerated = '' AND a.attidentity = ''
             ORDER BY a.attnum) AS columns,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity <> '') AS numbered,
       -- A partition's foreign key is its table's.
       ARRAY(SELECT DISTINCT coalesce(pg_partition_root(f.confrelid), f.confrelid)::regclass::text FROM pg_constraint f
             WHERE coalesce(pg_partition_root(f.conrelid), f.conrelid) = c.oid AND f.contype = 'f'
               AND coalesce(pg_partition_root(f.confrelid), f.confrelid) <> c.oid)
       -- Nor is there a partition before its agent is registered.
       || CASE WHEN c.relkind = 'p' THEN '{agents}'::text[] ELSE '{}' END AS after
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> ALL($1)
ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns that move. `numbered`: its rows have an order of their own, which must be kept."""

    name: str
    columns: tuple[str, ...]
    numbered: bool


async def tables_in_order(connection: Connection) -> list[Table]:
    """Every table that moves, after those that it refers to."""
    rows = {row["name"]: row for row in await connection.fetch(_TABLES, list(_STAY))}
    order = TopologicalSorter({name: row["after"] for name, row in rows.items()}).static_order()
    return [
        Table(name, tuple(rows[name]["columns"]), rows[name]["numbered"]) for name in order if name in rows
    ]


_OF_AGENT = "agent_name = ANY($1)"
# What else belongs to an agent, by table.
_BELONGS = {
    "outbox": "mission_id IN (SELECT id FROM missions WHERE agent_name = ANY($1))",
    "spending_totals": "scope = 'mission' AND period IN (SELECT id::text FROM missions WHERE agent_name = ANY($1))",
}
# The target may know more agents than the export.
_ALWAYS_BY_AGENT = ("agents", "agent_performance")


def rows_that_move(table: Table, *, whole: bool) -> str | None:
    """The condition on the rows that move, in which $1 may stand for the names of the agents; None: no row does."""
    if table.name in _ALWAYS_BY_AGENT:
        return _OF_AGENT
    if whole:
        return "true"
    return _OF_AGENT if "agent_name" in table.columns else _BELONGS.get(table.name)


# Sorted byte by byte, so that two databases with other collations give the same text.
_READ = """
SELECT format('SELECT %s FROM %I WHERE %s ORDER BY %s',
    (SELECT string_agg(format('%I', u.name), ', ' ORDER BY u.n) FROM unnest($2::text[]) WITH ORDINALITY AS u (name, n)),
    $1::text, $3::text,
    CASE WHEN $4 THEN (SELECT format('%I', attname) FROM pg_attribute
                       WHERE attrelid = format('%I', $1::text)::regclass AND attidentity <> '')
         ELSE (SELECT string_agg(format('%I', a.attname)
                                 || CASE WHEN a.attcollation <> 0 THEN ' COLLATE "C"' ELSE '' END, ', ' ORDER BY k.n)
               FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
               WHERE i.indrelid = format('%I', $1::text)::regclass AND i.indisprimary) END)
"""


async def reading(connection: Connection, table: Table, columns: Sequence[str], condition: str) -> str:
    """The query that reads `columns` of the rows that meet `condition`, always in the same order."""
    # agents.agent_id numbers partitions and says nothing about an order.
    by_number = table.numbered and table.name != "agents"
    query: str = await connection.fetchval(_READ, table.name, list(columns), condition, by_number)
    return query
