"""What the catalog must say for agents to be kept apart: one check each, a query that returns what is off."""

from __future__ import annotations

from database.audit.bodies import BODY_CHECK
from database.audit.check import Check
from database.audit.rights import RIGHTS
from database.audit.roles import ROLES

_ROW_SECURITY = """
SELECT format('%s does not %s row-level security', c.oid::regclass,
              CASE WHEN c.relrowsecurity THEN 'force' ELSE 'enable' END)
FROM pg_class c JOIN guarded_relations USING (oid)
WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY 1
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
    ('missions', 'own_missions', 'agents', 'ALL',
     '((agent_name = ( SELECT current_agent() AS current_agent))'
     ' AND (state = ANY (ARRAY[''queued''::text, ''running''::text])))',
     '((agent_name = ( SELECT current_agent() AS current_agent))'
     ' AND (state = ANY (ARRAY[''queued''::text, ''running''::text])))'),
    ('pauses', 'owner_all', 'owner', 'ALL', 'true', 'true'),
    ('pauses', 'gateway_all', 'gateway', 'ALL', 'true', 'true'),
    ('pauses', 'own_pauses', 'agents', 'SELECT',
     '((scope = ANY (ARRAY[''all''::text, ''paid''::text]))'
     ' OR (scope = (''agent:''::text || ( SELECT current_agent() AS current_agent))))', NULL)
), found AS (
    SELECT c.oid::regclass::text AS tablename, p.policyname::text,
           CASE WHEN p.roles = ARRAY[pg_get_userbyid(c.relowner)]::name[] THEN 'owner'
                ELSE array_to_string(p.roles, ', ') END AS role,
           p.cmd, p.qual, p.with_check
    FROM pg_policies p JOIN audited_relations c ON c.oid = format('%I.%I', p.schemaname, p.tablename)::regclass
)
(SELECT format('policy %s on %s lets %s %s where %s%s', policyname, tablename, role, lower(cmd), coalesce(qual, 'true'),
               ' and write where ' || with_check) FROM (TABLE found EXCEPT TABLE wanted) AS alien)
UNION ALL
(SELECT format('policy %s on %s is missing or was changed', policyname, tablename)
 FROM (TABLE wanted EXCEPT TABLE found) AS missing) ORDER BY 1
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
SELECT CASE relkind WHEN 'v' THEN format('view %s reads with its owner''s rights', oid::regclass)
                    WHEN 'm' THEN format('materialized view %s is a copy that no policy guards', oid::regclass)
                    ELSE format('table %s lies on another server', oid::regclass) END
FROM audited_relations
WHERE relkind IN ('m', 'f')
   OR relkind = 'v' AND NOT coalesce(reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
UNION ALL
SELECT format('server %s lets rows come and go', srvname) FROM pg_foreign_server
UNION ALL
SELECT format('trigger %s on %s may carry rows elsewhere', t.tgname, t.tgrelid::regclass)
FROM pg_trigger t JOIN audited_relations c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('rule %s on %s may carry rows elsewhere', r.rulename, r.ev_class::regclass)
FROM pg_rewrite r JOIN audited_relations c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT format('publication %s sends rows of %I.%I to other databases', pubname, schemaname, tablename)
FROM pg_publication_tables
UNION ALL
SELECT format('publication %s sends all tables to other databases', pubname) FROM pg_publication WHERE puballtables
UNION ALL
SELECT format('large object %s of %s is under no policy', oid, lomowner::regrole) FROM pg_largeobject_metadata
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
    *RIGHTS,
    BODY_CHECK,
    *ROLES,
    Check("partitions", _PARTITIONS, "each agent has one partition of its own: `register_agent`"),
    Check("side doors", _SIDE_DOORS, "drop it, or make the view WITH (security_invoker = true)"),
    Check("history", _HISTORY, "find out how it came about; the rows named are the evidence"),
)
