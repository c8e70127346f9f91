REVOKE SELECT (scope) ON pauses FROM agents;
GRANT SELECT ON pauses TO agents;
DROP POLICY own_pauses ON pauses;
DROP POLICY gateway_all ON pauses;
DROP POLICY owner_all ON pauses;
ALTER TABLE pauses NO FORCE ROW LEVEL SECURITY;
ALTER TABLE pauses DISABLE ROW LEVEL SECURITY;
