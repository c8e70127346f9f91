DO $$
DECLARE
    v_key record;
BEGIN
    FOR v_key IN
        SELECT c.conrelid::regclass AS partition, c.conname FROM pg_constraint c
        JOIN pg_inherits i ON i.inhrelid = c.conrelid AND i.inhparent = 'agent_memory_embeddings'::regclass
        WHERE c.contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', v_key.partition, v_key.conname);
    END LOOP;
END $$;
ALTER TABLE agent_memory_embeddings ADD CONSTRAINT agent_memory_embeddings_agent_name_memory_id_fkey
    FOREIGN KEY (agent_name, memory_id) REFERENCES agent_memories (agent_name, id) ON DELETE CASCADE;
CREATE OR REPLACE FUNCTION register_agent(p_name text, p_role name, p_specialization text, p_digest text DEFAULT '') RETURNS void
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
DROP FUNCTION link_partitions(integer);
