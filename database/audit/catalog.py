"""What the catalog must say for agents to be kept apart: one check each, a query that returns what is off."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """`sql` returns one column, a sentence per violation; `fix` is the way out."""

    name: str
    sql: str
    fix: str


# Guarded: tables whose rows belong to agents, with all their partitions.
# Ours: what is in schema public and does not belong to an extension.
_ROW_SECURITY = """
SELECT format('%s does not %s row-level security', c.oid::regclass,
              CASE WHEN c.relrowsecurity THEN 'force' ELSE 'enable' END)
FROM pg_class c
WHERE (c.oid IN ('missions'::regclass, 'agent_performance'::regclass)
       OR c.oid IN (SELECT relid FROM pg_partition_tree('agent_memories'))
       OR c.oid IN (SELECT relid FROM pg_partition_tree('agent_memory_embeddings')))
  AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY 1
"""

_POLICIES = """
WITH wanted (tablename, policyname, role, cmd, qual, with_check) AS (VALUES
    ('agent_memories', 'owner_all', 'owner', 'ALL', 'true', 'true'),
    ('agent_memories', 'gateway_reads', 'gateway', 'SELECT', 'true', NULL),
    ('agent_memories', 'own_successes', 'agents', 'SELECT',
     '((agent_name = ( SELECT current_agent() AS current_agent)) AND (state = ''succeeded''::text)'
     ' AND (erased_at IS NULL))', NULL),
    ('agent_memory_embeddings', 'owner_all', 'owner', 'ALL', 'true', 'true'),
    ('agent_memory_embeddings', 'gateway_reads', 'gateway', 'SELECT', 'true', NULL),
    ('agent_memory_embeddings', 'own_recallable', 'agents', 'SELECT',
     '((agent_name = ( SELECT current_agent() AS current_agent)) AND recallable)', NULL),
    ('agent_performance', 'owner_all', 'owner', 'ALL', 'true', 'true'),
    ('agent_performance', 'gateway_reads', 'gateway', 'SELECT', 'true', NULL),
    ('agent_performance', 'own_row', 'agents', 'SELECT',
     '(agent_name = ( SELECT current_agent() AS current_agent))', NULL),
    ('missions', 'owner_all', 'owner', 'ALL', 'true', 'true'),
    ('missions', 'gateway_all', 'gateway', 'ALL', 'true', 'true'),
    ('missions', 'own_missions', 'agents', 'ALL', '(agent_name = ( SELECT current_agent() AS current_agent))',
     '(agent_name = ( SELECT current_agent() AS current_agent))')
), found AS (
    SELECT p.tablename::text, p.policyname::text,
           CASE WHEN p.roles = ARRAY[pg_get_userbyid(c.relowner)]::name[] THEN 'owner'
                ELSE array_to_string(p.roles, ', ') END AS role,
           p.cmd, p.qual, p.with_check
    FROM pg_policies p JOIN pg_class c ON c.oid = format('%I.%I', p.schemaname, p.tablename)::regclass
    WHERE p.schemaname = 'public'
)
(SELECT format('policy %s on %s lets %s %s where %s%s', policyname, tablename, role, lower(cmd), coalesce(qual, 'true'),
               ' and write where ' || with_check) FROM (TABLE found EXCEPT TABLE wanted) AS alien)
UNION ALL
(SELECT format('policy %s on %s is missing or was changed', policyname, tablename)
 FROM (TABLE wanted EXCEPT TABLE found) AS missing) ORDER BY 1
"""

# Writes of agents go through functions that check who calls; of missions they may write what a claim needs.
_GRANTS = """
WITH allowed (grantee, relation, privilege, attribute) AS (
    SELECT 'agents', relation, 'SELECT', NULL FROM unnest(ARRAY['agent_memories', 'agent_memory_embeddings',
        'agent_performance', 'missions', 'pauses', 'embedding_model']) AS relation
    UNION ALL
    SELECT 'agents', 'missions', 'UPDATE', attribute FROM unnest(ARRAY['state', 'reason', 'not_before', 'fence',
        'lease_until', 'runner_id', 'attempts', 'claimed_at']) AS attribute
), held AS (
    SELECT c.relname::text AS relation, c.relispartition, acl.grantee, acl.privilege_type AS privilege,
           NULL AS attribute
    FROM pg_class c, aclexplode(c.relacl) AS acl
    WHERE c.relnamespace = 'public'::regnamespace AND acl.grantee <> c.relowner
    UNION ALL
    SELECT c.relname::text, c.relispartition, acl.grantee, acl.privilege_type, a.attname::text
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) AS acl
    WHERE c.relnamespace = 'public'::regnamespace AND acl.grantee <> c.relowner
), named AS (
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END AS grantee,
           relation, privilege, attribute, relispartition FROM held
)
SELECT format('%s holds %s on %s%s', grantee, privilege, relation, '.' || attribute) FROM named n
WHERE CASE
    WHEN relispartition THEN true
    WHEN grantee = 'gateway' THEN privilege NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
        OR privilege <> 'SELECT' AND relation IN ('agent_memories', 'agent_memory_embeddings', 'agent_performance')
    ELSE NOT EXISTS (
        SELECT FROM allowed a WHERE (a.grantee, a.relation, a.privilege) = (n.grantee, n.relation, n.privilege)
        AND a.attribute IS NOT DISTINCT FROM n.attribute) END ORDER BY 1
"""

_SCHEMA = """
SELECT format('%s may %s in schema %s', CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee) END,
              lower(acl.privilege_type), n.nspname)
FROM pg_namespace n, aclexplode(n.nspacl) AS acl
WHERE n.nspname = 'public' AND acl.grantee <> n.nspowner
  AND (acl.privilege_type = 'CREATE' OR acl.grantee = 0 OR pg_get_userbyid(acl.grantee) NOT IN ('gateway', 'agents'))
UNION ALL
SELECT format('default privileges of %s grant %s to %s', pg_get_userbyid(d.defaclrole), acl.privilege_type,
              CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee) END)
FROM pg_default_acl d, aclexplode(d.defaclacl) AS acl WHERE acl.grantee <> d.defaclrole ORDER BY 1
"""

_SEARCH_PATH = """
SELECT format('%s runs with its owner''s rights and no search_path of its own', p.oid::regprocedure)
FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
  AND NOT coalesce(p.proconfig && ARRAY['search_path=public, pg_temp', 'search_path=pg_catalog, pg_temp'], false)
ORDER BY 1
"""

_EXECUTE = """
WITH calls AS (
    SELECT p.oid, p.proname,
           CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee)::text END AS grantee
    FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl
    WHERE p.pronamespace = 'public'::regnamespace AND acl.grantee <> p.proowner AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))
SELECT format('%s may execute %s', grantee, oid::regprocedure) FROM calls
WHERE grantee <> 'gateway' AND NOT (grantee = 'agents' AND proname IN ('current_agent', 'recall_candidates',
    'finish_mission', 'store_outcome', 'reserve_spending', 'settle_spending')) ORDER BY 1
"""

_ROLES = """
SELECT format('role %s %s', r.rolname, flag)
FROM pg_roles r, pg_class o, LATERAL (VALUES
    ('is a superuser', r.rolsuper), ('bypasses row-level security', r.rolbypassrls),
    ('may create roles', r.rolcreaterole AND r.oid <> o.relowner), ('may create databases', r.rolcreatedb),
    ('may replicate', r.rolreplication)) AS attribute (flag, on_)
WHERE o.oid = 'agent_memories'::regclass AND on_
  AND (r.oid = o.relowner OR r.rolname IN ('gateway', 'agents') OR r.rolname IN (SELECT role_name FROM agents))
UNION ALL
SELECT format('agent %s has no login role %s', agent_name, role_name) FROM agents
WHERE role_name NOT IN (SELECT rolname FROM pg_roles WHERE rolcanlogin) ORDER BY 1
"""

# That the owner, who made the login roles, administers them is PostgreSQL's own rule. Roles belong to all databases of
# a server: an agent of another one is nobody here, and sees no row.
_MEMBERS = """
SELECT format('role %s is a member of %s%s', m.member::regrole, m.roleid::regrole,
              CASE m.roleid::regrole::text WHEN 'agents' THEN ' and is no agent, or may become or pass it on'
                                           ELSE '' END)
FROM pg_auth_members m CROSS JOIN (SELECT relowner FROM pg_class WHERE oid = 'agent_memories'::regclass) AS o
LEFT JOIN agents a ON a.role_name = pg_get_userbyid(m.member)
WHERE NOT (SELECT rolsuper FROM pg_roles WHERE oid = m.member) AND CASE
    WHEN pg_get_userbyid(m.roleid) = 'agents' THEN m.member <> o.relowner AND (
        a.agent_name IS NULL AND pg_get_userbyid(m.member) NOT LIKE 'agent-%' OR m.set_option OR m.admin_option)
    WHEN a.agent_name IS NOT NULL OR pg_get_userbyid(m.member) = 'gateway' THEN pg_get_userbyid(m.roleid) <> 'rds_iam'
    WHEN m.roleid = o.relowner THEN true
    WHEN pg_get_userbyid(m.roleid) IN (SELECT role_name FROM agents) OR pg_get_userbyid(m.roleid) = 'gateway'
        THEN m.member <> o.relowner
    ELSE false END ORDER BY 1
"""

_OWNERS = """
SELECT format('%s %s belongs to %s', kind, name, owner::regrole)
FROM (
    SELECT CASE relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END AS kind,
           oid::regclass::text AS name, relowner AS owner
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT 'function', oid::regprocedure::text, proowner FROM pg_proc p
    WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')) AS ours
WHERE owner <> (SELECT relowner FROM pg_class WHERE oid = 'agent_memories'::regclass) ORDER BY 1
"""

_PARTITIONS = """
SELECT format('%s takes %s', c.oid::regclass, CASE WHEN bound = 'DEFAULT' THEN 'the rows of any name (DEFAULT)'
              ELSE 'rows ' || lower(bound) || ', which is no agent''s name alone' END)
FROM unnest(ARRAY['agent_memories', 'agent_memory_embeddings']) AS parent
JOIN pg_inherits i ON i.inhparent = parent::regclass JOIN pg_class c ON c.oid = i.inhrelid,
LATERAL pg_get_expr(c.relpartbound, c.oid) AS bound
WHERE bound NOT IN (SELECT format('FOR VALUES IN (%L)', agent_name) FROM agents) OR c.relkind = 'p'
UNION ALL
SELECT format('agent %s has no partition of %s', a.agent_name, parent)
FROM agents a, unnest(ARRAY['agent_memories', 'agent_memory_embeddings']) AS parent
WHERE format('FOR VALUES IN (%L)', a.agent_name) NOT IN (
    SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = parent::regclass) ORDER BY 1
"""

# Ways in which rows could leave a table beside its policies.
_SIDE_DOORS = """
WITH guarded AS (
    SELECT relid::oid AS oid FROM pg_partition_tree('agent_memories')
    UNION ALL SELECT relid FROM pg_partition_tree('agent_memory_embeddings')
    UNION ALL VALUES ('agent_performance'::regclass), ('missions'::regclass)
)
SELECT DISTINCT format('%s %s reads %s with its owner''s rights',
                       CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END,
                       v.oid::regclass, d.refobjid::regclass)
FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM guarded)
JOIN pg_class v ON v.oid = r.ev_class
WHERE v.relkind = 'm' OR v.relkind = 'v'
    AND NOT coalesce(v.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
UNION ALL
SELECT format('trigger %s on %s may carry rows elsewhere', t.tgname, t.tgrelid::regclass)
FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid IN (SELECT oid FROM guarded)
UNION ALL
SELECT format('rule %s on %s may carry rows elsewhere', r.rulename, r.ev_class::regclass)
FROM pg_rewrite r WHERE r.ev_class IN (SELECT oid FROM guarded) AND r.rulename <> '_RETURN'
UNION ALL
SELECT format('publication %s sends rows of %s to other databases', p.pubname, p.tablename)
FROM pg_publication_tables p
WHERE p.schemaname = 'public' AND to_regclass(format('%I', p.tablename)) IN (SELECT oid FROM guarded)
UNION ALL
SELECT format('publication %s sends all tables to other databases', pubname) FROM pg_publication WHERE puballtables
ORDER BY 1
"""

_HISTORY = """
SELECT format('mission %s of %s recalled a memory of %s', m.id, m.agent_name, o.agent_name)
FROM missions m, jsonb_array_elements(CASE WHEN jsonb_typeof(m.recalled) = 'array' THEN m.recalled ELSE '[]' END) AS r
JOIN agent_memories o ON o.id = (r->>'memory_id')::uuid AND r->>'memory_id' IS NOT NULL
WHERE o.agent_name <> m.agent_name
UNION ALL
SELECT format('a vector of %s is recallable though its memory %s is %s', e.agent_name, m.id,
              CASE WHEN m.erased_at IS NOT NULL THEN 'erased' ELSE m.state END)
FROM agent_memory_embeddings e JOIN agent_memories m ON m.agent_name = e.agent_name AND m.id = e.memory_id
WHERE e.recallable AND (m.state <> 'succeeded' OR m.erased_at IS NOT NULL) ORDER BY 1
"""

CHECKS = (
    Check("row security", _ROW_SECURITY, "ALTER TABLE … ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"),
    Check("policies", _POLICIES, "restore the policies of the migrations"),
    Check("grants", _GRANTS, "REVOKE it: agents read through the parent tables and write through functions"),
    Check("schema", _SCHEMA, "REVOKE it: only the owner makes objects, and grants each one by name"),
    Check("search path", _SEARCH_PATH, "ALTER FUNCTION … SET search_path = public, pg_temp"),
    Check("execute", _EXECUTE, "REVOKE EXECUTE ON FUNCTION …"),
    Check(
        "roles", _ROLES, "ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION LOGIN"
    ),
    Check(
        "membership",
        _MEMBERS,
        "REVOKE … FROM …: an agent's role is a member of agents, WITH INHERIT TRUE, SET FALSE",
    ),
    Check("owners", _OWNERS, "ALTER … OWNER TO the schema's owner"),
    Check("partitions", _PARTITIONS, "each agent has one partition of its own: `register_agent`"),
    Check("side doors", _SIDE_DOORS, "drop it, or make the view WITH (security_invoker = true)"),
    Check("history", _HISTORY, "find out how it came about; the rows named are the evidence"),
)
