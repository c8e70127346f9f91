-- The registry of agents, what they remember, and who may read it.
-- The proposal's four tables in valid PostgreSQL, partitioned by agent and under forced row-level security.
-- Run by the owner role (not a superuser, as on RDS). No partition is granted to anybody.

CREATE EXTENSION IF NOT EXISTS vector;

DO $$
BEGIN
    -- Roles belong to the cluster, so another database of it may have made them.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gateway') THEN CREATE ROLE gateway LOGIN; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agents') THEN CREATE ROLE agents NOLOGIN; END IF;
    -- On RDS it logs in with a token of its pod's identity, as the agents' roles do (register_agent).
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN GRANT rds_iam TO gateway; END IF;
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO gateway, agents;

CREATE TABLE agents (
    agent_name text PRIMARY KEY CHECK (agent_name <> '' AND length(agent_name) <= 100),
    agent_id integer GENERATED ALWAYS AS IDENTITY UNIQUE,  -- names the partitions, so that any agent_name is safe
    role_name name NOT NULL UNIQUE,
    specialization text NOT NULL,
    definition_digest text NOT NULL DEFAULT '',
    registered_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz  -- its definition is gone; its memory stays
);
GRANT SELECT ON agents TO gateway;

-- The agent behind this connection, or NULL. session_user, because SET ROLE and SECURITY DEFINER do not change it.
CREATE FUNCTION current_agent() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT agent_name FROM public.agents WHERE role_name = session_user $$;

CREATE TABLE agent_memories (
    agent_name text NOT NULL REFERENCES agents,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    mission_id uuid NOT NULL,
    agent_specialization text NOT NULL,
    repository text NOT NULL,
    issue_number integer NOT NULL,
    issue_title text NOT NULL,
    issue_body text NOT NULL DEFAULT '',
    issue_labels text[] NOT NULL DEFAULT '{}',
    issue_author text NOT NULL DEFAULT '',
    solution_approach text NOT NULL,
    lessons_learned text,
    files text[] NOT NULL DEFAULT '{}',
    -- Learned late: pending until the repository proves or refutes the outcome.
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'succeeded', 'failed')),
    success boolean GENERATED ALWAYS AS (state = 'succeeded') STORED,
    proven_by text,
    proven_at timestamptz,
    reverted_at timestamptz,
    resolution_time_minutes double precision CHECK (resolution_time_minutes >= 0),
    pr_number integer,
    pr_merged boolean,
    review_score integer CHECK (review_score BETWEEN 0 AND 100),
    tokens bigint NOT NULL DEFAULT 0 CHECK (tokens >= 0),
    cost_usd numeric(14, 6) NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
    arm text NOT NULL DEFAULT 'memory' CHECK (arm IN ('memory', 'control')),
    recalled_count integer NOT NULL DEFAULT 0 CHECK (recalled_count >= 0),
    search tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', issue_title), 'A')
        || setweight(to_tsvector('english', left(issue_body, 20000)), 'B')
        || setweight(to_tsvector('english', left(solution_approach, 20000)), 'C')
    ) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_name, id),
    UNIQUE (agent_name, mission_id)
) PARTITION BY LIST (agent_name);
CREATE INDEX agent_memories_issue ON agent_memories (repository, issue_number);
CREATE INDEX agent_memories_author ON agent_memories (issue_author);
CREATE INDEX agent_memories_search ON agent_memories USING gin (search) WHERE state = 'succeeded';

CREATE TABLE agent_memory_embeddings (
    agent_name text NOT NULL,
    memory_id uuid NOT NULL,
    model text NOT NULL,
    dimension integer NOT NULL,
    version text NOT NULL DEFAULT '',
    recallable boolean NOT NULL DEFAULT false,
    embedding vector NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_name, memory_id, model),
    FOREIGN KEY (agent_name, memory_id) REFERENCES agent_memories (agent_name, id) ON DELETE CASCADE,
    CHECK (vector_dims(embedding) = dimension)
) PARTITION BY LIST (agent_name);

CREATE TABLE agent_performance (
    agent_name text PRIMARY KEY REFERENCES agents,
    total_missions integer NOT NULL DEFAULT 0,
    successful_missions integer NOT NULL DEFAULT 0,
    failed_missions integer NOT NULL DEFAULT 0,
    avg_resolution_time_minutes double precision,
    success_rate double precision GENERATED ALWAYS AS (
        CASE WHEN successful_missions + failed_missions = 0 THEN 0
             ELSE successful_missions::double precision / (successful_missions + failed_missions) END
    ) STORED,
    hall_of_fame boolean NOT NULL DEFAULT false,
    eliminated boolean NOT NULL DEFAULT false,
    last_updated timestamptz NOT NULL DEFAULT now(),
    CHECK (total_missions >= 0 AND successful_missions >= 0 AND failed_missions >= 0)
);

CREATE TABLE agent_deployments (
    agent_name text NOT NULL REFERENCES agents,
    deployment_type text NOT NULL,
    region text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    deployed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_name, deployment_type, region)
);

-- Isolation. The owner is under the policies too (FORCE); its own says true for the functions below.
ALTER TABLE agent_memories ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_memories FORCE ROW LEVEL SECURITY;
ALTER TABLE agent_memory_embeddings ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_memory_embeddings FORCE ROW LEVEL SECURITY;
ALTER TABLE agent_performance ENABLE ROW LEVEL SECURITY;
ALTER TABLE agent_performance FORCE ROW LEVEL SECURITY;

CREATE POLICY owner_all ON agent_memories TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY owner_all ON agent_memory_embeddings TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY owner_all ON agent_performance TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY gateway_reads ON agent_memories FOR SELECT TO gateway USING (true);
CREATE POLICY gateway_reads ON agent_memory_embeddings FOR SELECT TO gateway USING (true);
CREATE POLICY gateway_reads ON agent_performance FOR SELECT TO gateway USING (true);
CREATE POLICY own_successes ON agent_memories FOR SELECT TO agents
    USING (agent_name = (SELECT current_agent()) AND state = 'succeeded');
CREATE POLICY own_recallable ON agent_memory_embeddings FOR SELECT TO agents
    USING (agent_name = (SELECT current_agent()) AND recallable);
CREATE POLICY own_row ON agent_performance FOR SELECT TO agents USING (agent_name = (SELECT current_agent()));

GRANT SELECT ON agent_memories, agent_memory_embeddings, agent_performance TO gateway, agents;
GRANT SELECT, INSERT, UPDATE ON agent_deployments TO gateway;

-- One agent: its row, its login role, its partitions. The same call again only refreshes the row.
CREATE FUNCTION register_agent(p_name text, p_role name, p_specialization text, p_digest text DEFAULT '') RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
DECLARE
    v_id integer;
    v_parent text;
BEGIN
    INSERT INTO agents (agent_name, role_name, specialization, definition_digest)
    VALUES (p_name, p_role, p_specialization, p_digest)
    ON CONFLICT (agent_name) DO UPDATE
        SET specialization = EXCLUDED.specialization, definition_digest = EXCLUDED.definition_digest, retired_at = NULL
        WHERE agents.role_name = EXCLUDED.role_name
    RETURNING agent_id INTO v_id;
    IF v_id IS NULL THEN
        RAISE EXCEPTION 'agent % is registered with another role than %', p_name, p_role;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = p_role) THEN
        EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', p_role);
        -- On RDS the role logs in with a token of its pod's identity instead of a password.
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
            EXECUTE format('GRANT rds_iam TO %I WITH INHERIT TRUE', p_role);
        END IF;
    END IF;
    EXECUTE format('GRANT agents TO %I WITH INHERIT TRUE, SET FALSE', p_role);
    FOREACH v_parent IN ARRAY ARRAY['agent_memories', 'agent_memory_embeddings'] LOOP
        IF to_regclass(format('%I', v_parent || '_' || v_id)) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%L)', v_parent || '_' || v_id, v_parent, p_name);
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', v_parent || '_' || v_id);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', v_parent || '_' || v_id);
        END IF;
    END LOOP;
    INSERT INTO agent_performance (agent_name) VALUES (p_name) ON CONFLICT DO NOTHING;
END $$;
REVOKE ALL ON FUNCTION register_agent(text, name, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION current_agent() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_agent() TO gateway, agents;
