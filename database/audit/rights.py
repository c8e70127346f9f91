"""Who may do what: the grants of each role of the system, in one table, and every right beyond them."""

from __future__ import annotations

from collections.abc import Mapping

from database.audit.check import Check

# What each role may do with each table. Everybody else, PUBLIC and the agents' own log-in roles too: nothing. Nobody
# may do anything with a partition. The owner may do everything. `agents` are all agents, which see only their own rows
# and write through functions. The dashboard and the page read as the gateway; there are no other roles.
TABLES: Mapping[str, Mapping[str, str]] = {
    "gateway": {
        "agents": "SELECT",
        "agent_memories": "SELECT",
        "agent_memory_embeddings": "SELECT",
        "agent_performance": "SELECT",
        "agent_deployments": "SELECT INSERT UPDATE",
        "embedding_model": "SELECT INSERT",
        "erased_works": "SELECT DELETE",
        "erasures": "SELECT DELETE",
        "inbox": "SELECT INSERT UPDATE DELETE",
        "last_words": "SELECT INSERT UPDATE DELETE",
        "missions": "SELECT INSERT UPDATE DELETE",
        "outbox": "SELECT INSERT UPDATE DELETE",
        "pauses": "SELECT INSERT UPDATE DELETE",
        "reconciled": "SELECT INSERT UPDATE DELETE",
        "reverts": "SELECT INSERT DELETE",
        "spending": "SELECT DELETE",
        "spending_caps": "SELECT UPDATE",
        "spending_totals": "SELECT DELETE",
    },
    "agents": {
        "agent_memories": "SELECT",
        "agent_memory_embeddings": "SELECT",
        "agent_performance": "SELECT",
        "embedding_model": "SELECT",
        "missions": "SELECT",
    },
}
# Of these tables only columns: what an agent's claim reads and writes.
COLUMNS: Mapping[tuple[str, str, str], str] = {
    (
        "agents",
        "missions",
        "UPDATE",
    ): "state reason not_before fence lease_until runner_id attempts claimed_at",
    ("agents", "pauses", "SELECT"): "scope",
}
# Which functions they may call, `all` for both. No other function may run with its owner's rights.
FUNCTIONS: Mapping[str, str] = {
    "abandon_missions(integer)": "gateway",
    "current_agent()": "all",
    "finish_mission(uuid,bigint,text,text,text,text,text,text[],bigint,numeric,jsonb,jsonb,text[])": "agents",
    "is_recalled(jsonb)": "all",  # whoever changes a mission runs its checks
    "judge_outcome(uuid,text,text,text,integer,boolean,boolean,text,boolean)": "gateway",
    "prune_memories(timestamp with time zone,integer)": "gateway",
    "prune_missions(timestamp with time zone,integer)": "gateway",
    "recall_candidates(text,text,vector,text,text,integer,integer,integer)": "all",
    "reserve_spending(uuid,bigint,numeric)": "agents",
    "settle_spending(uuid,numeric)": "agents",
    "standing(integer,integer)": "gateway",
    "store_embedding(text,uuid,text,text,vector)": "gateway",
    "store_outcome(jsonb,vector,text,text)": "all",
    "take_effects(integer,integer)": "gateway",
    "wilson_bound(bigint,bigint,boolean,double precision)": "gateway",
}
WITH_OWNERS_RIGHTS = (
    "abandon_missions current_agent finish_mission judge_outcome prune_memories prune_missions reserve_spending"
    " settle_spending store_embedding store_outcome"
)


def _allowed_tables() -> tuple[list[str | None], ...]:
    """`TABLES` and `COLUMNS` as four columns: role, table, privilege, column."""
    rows: list[tuple[str, str, str, str | None]] = [
        (role, table, privilege, None)
        for role, tables in TABLES.items()
        for table, privileges in tables.items()
        for privilege in privileges.split()
    ]
    rows += [(*of, column) for of, columns in COLUMNS.items() for column in columns.split()]
    return tuple(list(column) for column in zip(*rows, strict=True))


def _allowed_functions() -> tuple[list[str | None], ...]:
    """`FUNCTIONS` as two columns: role, signature."""
    rows = [
        (role, signature)
        for signature, may in FUNCTIONS.items()
        for role in ("gateway", "agents")
        if may in (role, "all")
    ]
    return [role for role, _ in rows], [signature for _, signature in rows]


_GRANTS = """
WITH allowed AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS a (grantee, relation, privilege, attribute)
), held AS (
    SELECT c.oid, c.relname, c.relnamespace, acl.grantee, acl.privilege_type AS privilege, acl.is_grantable,
           NULL::name AS attribute
    FROM audited_relations c, aclexplode(c.relacl) AS acl WHERE acl.grantee <> c.relowner
    UNION ALL
    SELECT c.oid, c.relname, c.relnamespace, acl.grantee, acl.privilege_type, acl.is_grantable, a.attname
    FROM audited_relations c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) AS acl
    WHERE acl.grantee <> c.relowner
), named AS (
    SELECT h.*, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END AS who FROM held h
)
SELECT format('%s holds %s on %s%s%s', who, privilege, oid::regclass, '.' || attribute,
              CASE WHEN is_grantable THEN ' and may pass it on' ELSE '' END) FROM named n
WHERE is_grantable OR NOT EXISTS (
    SELECT FROM allowed a
    WHERE n.relnamespace = 'public'::regnamespace
      AND (a.grantee, a.relation, a.privilege) = (n.who, n.relname, n.privilege)
      AND a.attribute IS NOT DISTINCT FROM n.attribute) ORDER BY 1
"""

_EXECUTE = """
WITH allowed AS (SELECT * FROM unnest($1::text[], $2::text[]) AS a (grantee, signature)),
held AS (
    SELECT p.oid::regprocedure::text AS signature, acl.is_grantable,
           CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee)::text END AS grantee
    FROM audited_functions p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
    WHERE acl.grantee <> p.proowner
)
SELECT format('%s may execute %s%s', grantee, signature, CASE WHEN is_grantable THEN ' and pass it on' ELSE '' END)
FROM held WHERE is_grantable OR (grantee, signature) NOT IN (SELECT grantee, signature FROM allowed) ORDER BY 1
"""

_OWNERS_RIGHTS = """
SELECT format('%s runs with its owner''s rights and no search_path of its own', p.oid::regprocedure)
FROM audited_functions p WHERE p.prosecdef
  AND NOT coalesce(p.proconfig && ARRAY['search_path=public, pg_temp', 'search_path=pg_catalog, pg_temp'], false)
UNION ALL
SELECT format('%s runs with its owner''s rights, and is none that the system needs', p.oid::regprocedure)
FROM audited_functions p WHERE p.prosecdef
  AND NOT (p.pronamespace = 'public'::regnamespace AND p.proname = ANY($1::text[])) ORDER BY 1
"""

_SCHEMAS = """
SELECT format('%s may %s in schema %s', CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee) END,
              lower(acl.privilege_type), n.nspname)
FROM audited_schemas n, aclexplode(n.nspacl) AS acl
WHERE acl.grantee <> n.nspowner AND NOT (
    n.nspname = 'public' AND acl.privilege_type = 'USAGE' AND NOT acl.is_grantable
    AND acl.grantee IN (to_regrole('gateway'), to_regrole('agents')))
UNION ALL
SELECT format('%s may create schemas', CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee) END)
FROM pg_database b, aclexplode(b.datacl) AS acl
WHERE b.datname = current_database() AND acl.privilege_type = 'CREATE' AND acl.grantee NOT IN (
    b.datdba, (SELECT oid FROM schema_owner))
UNION ALL
SELECT format('default privileges of %s grant %s to %s', pg_get_userbyid(d.defaclrole), acl.privilege_type,
              CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee) END)
FROM pg_default_acl d, aclexplode(d.defaclacl) AS acl WHERE acl.grantee <> d.defaclrole ORDER BY 1
"""

# PostgreSQL's own tables and functions show rows, files and statistics of all: what a server starts with, and no more.
_SYSTEM = """
WITH held AS (
    SELECT acl.grantee, acl.privilege_type, c.oid::regclass::text AS what FROM pg_class c, aclexplode(c.relacl) AS acl
    WHERE c.relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    UNION ALL
    SELECT acl.grantee, acl.privilege_type, p.oid::regprocedure::text FROM pg_proc p, aclexplode(p.proacl) AS acl
    WHERE p.pronamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
)
SELECT format('%s may %s %s', r.rolname, lower(privilege_type), what) FROM held JOIN pg_roles r ON r.oid = grantee
WHERE r.rolname IN ('gateway', 'agents') OR r.rolname IN (SELECT role_name FROM agents) ORDER BY 1
"""

RIGHTS = (
    Check(
        "grants",
        _GRANTS,
        "REVOKE it: agents read through the parent tables and write through functions",
        _allowed_tables(),
    ),
    Check("execute", _EXECUTE, "REVOKE EXECUTE ON FUNCTION …", _allowed_functions()),
    Check(
        "owner's rights",
        _OWNERS_RIGHTS,
        "ALTER FUNCTION … SET search_path = public, pg_temp, or SECURITY INVOKER",
        ([*WITH_OWNERS_RIGHTS.split()],),
    ),
    Check("schema", _SCHEMAS, "REVOKE it: only the owner makes objects, and grants each one by name"),
    Check("system", _SYSTEM, "REVOKE it: no role of the system needs PostgreSQL's own tables or functions"),
)
