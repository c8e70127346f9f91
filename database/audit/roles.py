"""What the roles of the system are, whose members they are, and that everything belongs to the owner."""

from __future__ import annotations

from database.audit.check import Check

# No policy holds for whoever bypasses them, be it a role of the system or not. Nobody keeps a superuser out, such as
# RDS's own.
_ATTRIBUTES = """
SELECT format('role %s %s', r.rolname, flag)
FROM pg_roles r, schema_owner o, LATERAL (VALUES
    ('is a superuser', r.rolsuper, false), ('bypasses row-level security', r.rolbypassrls, NOT r.rolsuper),
    ('may create roles', r.rolcreaterole AND r.oid <> o.oid, false), ('may create databases', r.rolcreatedb, false),
    ('may replicate', r.rolreplication, false)) AS attribute (flag, on_, whoever)
WHERE on_ AND (
    whoever OR r.oid = o.oid OR r.rolname IN ('gateway', 'agents') OR r.rolname IN (SELECT role_name FROM agents))
UNION ALL
SELECT format('agent %s has no login role %s', agent_name, role_name) FROM agents
WHERE role_name NOT IN (SELECT rolname FROM pg_roles WHERE rolcanlogin) ORDER BY 1
"""

# That the owner, who made the login roles, administers them is PostgreSQL's own rule. Roles belong to all databases of
# a server: an agent of another one is nobody here, and sees no row.
_MEMBERS = """
WITH member AS (
    SELECT m.roleid, m.member, pg_get_userbyid(m.roleid) AS role, pg_get_userbyid(m.member) AS who,
           m.set_option OR m.admin_option AS becomes,
           EXISTS (SELECT FROM agents WHERE role_name = pg_get_userbyid(m.member)) AS is_agent
    FROM pg_auth_members m WHERE NOT (SELECT rolsuper FROM pg_roles WHERE oid = m.member)
)
SELECT format('role %s is a member of %s%s', m.member::regrole, m.roleid::regrole,
              CASE role WHEN 'agents' THEN ' and is no agent, or may become or pass it on' ELSE '' END)
FROM member m, schema_owner o
WHERE CASE
    WHEN role = 'agents' THEN m.member <> o.oid AND (NOT is_agent AND who NOT LIKE 'agent-%' OR becomes)
    WHEN is_agent OR who IN ('gateway', 'agents') THEN role <> 'rds_iam'
    WHEN m.roleid = o.oid THEN true
    ELSE m.member <> o.oid AND (role = 'gateway' OR role IN (SELECT role_name FROM agents)) END ORDER BY 1
"""

_OWNERS = """
SELECT format('%s %s belongs to %s', kind, name, owner::regrole)
FROM (
    SELECT CASE relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END AS kind,
           oid::regclass::text AS name, relowner AS owner
    FROM audited_relations WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL SELECT 'function', oid::regprocedure::text, proowner FROM audited_functions
    UNION ALL SELECT 'schema', oid::regnamespace::text, nspowner FROM audited_schemas WHERE nspname <> 'public'
) AS ours
WHERE owner <> (SELECT oid FROM schema_owner) ORDER BY 1
"""

ROLES = (
    Check(
        "roles",
        _ATTRIBUTES,
        "ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION, and LOGIN for an agent",
    ),
    Check(
        "membership",
        _MEMBERS,
        "REVOKE … FROM …: an agent's role is a member of agents, WITH INHERIT TRUE, SET FALSE",
    ),
    Check("owners", _OWNERS, "ALTER … OWNER TO the schema's owner"),
)
