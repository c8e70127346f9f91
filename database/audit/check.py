"""One check of the catalog, and what all of them look at."""

from __future__ import annotations

from dataclasses import dataclass

from database.connect import Connection


@dataclass(frozen=True, slots=True)
class Check:
    """`sql` returns one column, a sentence per violation; `arguments` are its $1, $2, …; `fix` is the way out."""

    name: str
    sql: str
    fix: str
    arguments: tuple[list[str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation of one check."""

    check: str
    problem: str
    fix: str


# Views of the session, gone with it. Audited: every schema but PostgreSQL's own, without what belongs to an extension.
# Guarded: tables whose rows belong to agents, with all their partitions.
_WHAT_IS_AUDITED = """
CREATE OR REPLACE TEMPORARY VIEW audited_schemas AS
SELECT n.* FROM pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e');
CREATE OR REPLACE TEMPORARY VIEW audited_relations AS
SELECT c.* FROM pg_class c JOIN audited_schemas n ON n.oid = c.relnamespace
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
CREATE OR REPLACE TEMPORARY VIEW audited_functions AS
SELECT p.* FROM pg_proc p JOIN audited_schemas n ON n.oid = p.pronamespace
WHERE NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e');
CREATE OR REPLACE TEMPORARY VIEW guarded_relations AS
SELECT relid::oid AS oid FROM pg_partition_tree('agent_memories')
UNION ALL SELECT relid FROM pg_partition_tree('agent_memory_embeddings')
UNION ALL VALUES ('agent_performance'::regclass), ('missions'::regclass), ('pauses'::regclass);
CREATE OR REPLACE TEMPORARY VIEW schema_owner AS
SELECT relowner AS oid FROM pg_class WHERE oid = 'agent_memories'::regclass
"""


async def run_checks(owner: Connection, checks: tuple[Check, ...]) -> list[Finding]:
    """What `checks` find, as the schema's owner. Leaves the session's search_path at `public`."""
    await owner.execute("SET search_path = public")  # as policies and signatures are to be printed
    await owner.execute(_WHAT_IS_AUDITED)
    return [
        Finding(check.name, row[0], check.fix)
        for check in checks
        for row in await owner.fetch(check.sql, *check.arguments)
    ]
