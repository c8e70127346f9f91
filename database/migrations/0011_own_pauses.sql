-- An agent's claim asks whether that agent is paused, and needs to see no more: not whom else, not by whom or why.
ALTER TABLE pauses ENABLE ROW LEVEL SECURITY;
ALTER TABLE pauses FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON pauses TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY gateway_all ON pauses TO gateway USING (true) WITH CHECK (true);
CREATE POLICY own_pauses ON pauses FOR SELECT TO agents
    USING (scope IN ('all', 'paid') OR scope = 'agent:' || (SELECT current_agent()));
REVOKE SELECT ON pauses FROM agents;
GRANT SELECT (scope) ON pauses TO agents;
