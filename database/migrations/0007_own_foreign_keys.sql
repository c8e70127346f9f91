-- A vector's memory stands in the partition of the same agent, so its foreign key leads there. One between the parents
-- is checked against all partitions: with 66 agents a bulk load took twice the time (bench/data.py), with more it grows.

ALTER TABLE agent_memory_embeddings DROP CONSTRAINT agent_memory_embeddings_agent_name_memory_id_fkey;

CREATE FUNCTION link_partitions(p_id integer) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
DECLARE
    v_vectors text := 'agent_memory_embeddings_' || p_id;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = format('%I', v_vectors)::regclass AND contype = 'f') THEN
        EXECUTE format('ALTER TABLE %I ADD FOREIGN KEY (agent_name, memory_id) REFERENCES %I (agent_name, id)'
                       ' ON DELETE CASCADE', v_vectors, 'agent_memories_' || p_id);
    END IF;
END $$;
REVOKE ALL ON FUNCTION link_partitions(integer) FROM PUBLIC;

SELECT link_partitions(agent_id) FROM agents;

-- As before, and with the foreign key.
CREATE OR REPLACE FUNCTION register_agent(
    p_name text, p_role name, p_specialization text, p_digest text DEFAULT ''
) RETURNS void
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
    PERFORM link_partitions(v_id);
    INSERT INTO agent_performance (agent_name) VALUES (p_name) ON CONFLICT DO NOTHING;
END $$;
