-- Quicker stores. A new outcome's vector is stored without looking its memory up again: PostgreSQL planned that anew
-- for each one, and in a session's sixth call for any agent, over all partitions (with 66 agents 479 locks and 43 ms). And no
-- memory asks whether its agent exists: its partition says so, and the agent's row cannot go while agent_performance
-- refers to it.

ALTER TABLE agent_memories DROP CONSTRAINT agent_memories_agent_name_fkey;

-- Vectors of another space than the current one are refused: nothing could ever be compared with them.
CREATE FUNCTION refuse_other_space(p_model text, p_dimension integer, p_version text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = public, pg_temp
    AS $$
DECLARE
    v_current embedding_model;
BEGIN
    SELECT * INTO v_current FROM embedding_model;
    IF FOUND AND (v_current.model, v_current.dimension, v_current.version)
                 IS DISTINCT FROM (p_model, p_dimension, p_version) THEN
        RAISE EXCEPTION 'memories are embedded with % (dimension %, version %), not with % (dimension %, version %)',
            v_current.model, v_current.dimension, v_current.version, p_model, p_dimension, p_version
            USING HINT = '`python -m database reembed --to MODEL` changes the model of all memories';
    END IF;
END $$;
REVOKE ALL ON FUNCTION refuse_other_space(text, integer, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION store_embedding(
    p_agent text, p_memory uuid, p_model text, p_version text, p_embedding vector
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
BEGIN
    PERFORM refuse_other_space(p_model, vector_dims(p_embedding), p_version);
    INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
    SELECT p_agent, p_memory, p_model, vector_dims(p_embedding), p_version, state = 'succeeded', p_embedding
    FROM agent_memories WHERE agent_name = p_agent AND id = p_memory
    ON CONFLICT (agent_name, memory_id, model, dimension, version) DO UPDATE
        SET recallable = EXCLUDED.recallable, embedding = EXCLUDED.embedding;
END $$;

CREATE OR REPLACE FUNCTION add_outcome(v agent_memories) RETURNS uuid
    LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
DECLARE
    v_id uuid;
BEGIN
    INSERT INTO agent_memories (
        agent_name, id, mission_id, agent_specialization, repository, issue_number, issue_title, issue_body,
        issue_labels, issue_author, solution_approach, lessons_learned, files, state, proven_by, proven_at,
        resolution_time_minutes, pr_number, pr_merged, review_score, tokens, cost_usd, arm, recalled_count)
    SELECT v.agent_name, coalesce(v.id, gen_random_uuid()), v.mission_id, a.specialization, v.repository,
           v.issue_number, v.issue_title, coalesce(v.issue_body, ''), coalesce(v.issue_labels, '{}'),
           coalesce(v.issue_author, ''), v.solution_approach, v.lessons_learned, coalesce(v.files, '{}'), v.state,
           v.proven_by,
           CASE WHEN v.state = 'succeeded' THEN now() END, v.resolution_time_minutes, v.pr_number, v.pr_merged,
           v.review_score, coalesce(v.tokens, 0), coalesce(v.cost_usd, 0), coalesce(v.arm, 'memory'),
           coalesce(v.recalled_count, 0)
    FROM agents a WHERE a.agent_name = v.agent_name
    ON CONFLICT (agent_name, mission_id) DO NOTHING
    RETURNING id INTO v_id;
    IF v_id IS NULL THEN
        SELECT id INTO v_id FROM agent_memories WHERE agent_name = v.agent_name AND mission_id = v.mission_id;
        RETURN v_id;
    END IF;
    UPDATE agent_performance
    SET total_missions = total_missions + 1,
        avg_resolution_time_minutes = coalesce(
            (coalesce(avg_resolution_time_minutes, v.resolution_time_minutes) * total_missions
             + v.resolution_time_minutes) / (total_missions + 1), avg_resolution_time_minutes),
        last_updated = now()
    WHERE agent_name = v.agent_name;
    IF v.state <> 'pending' THEN  -- apart, because it computes the standing anew, which most outcomes do not change
        UPDATE agent_performance
        SET successful_missions = successful_missions + (v.state = 'succeeded')::integer,
            failed_missions = failed_missions + (v.state = 'failed')::integer
        WHERE agent_name = v.agent_name;
    END IF;
    RETURN v_id;
END $$;

CREATE OR REPLACE FUNCTION store_outcome(p_outcome jsonb, p_embedding vector, p_model text, p_version text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v agent_memories := jsonb_populate_record(NULL::agent_memories, p_outcome);
    v_agent text := current_agent();
    v_id uuid;
BEGIN
    IF v_agent IS NULL AND NOT pg_has_role(session_user, 'gateway', 'USAGE') OR v_agent <> v.agent_name THEN
        RAISE EXCEPTION 'role % may not store an outcome of agent %', session_user, v.agent_name
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF v_agent IS NOT NULL AND v.state = 'succeeded' THEN
        v.state := 'pending';
        v.proven_by := NULL;
    END IF;
    v.id := gen_random_uuid();
    v_id := add_outcome(v);
    IF v_id IS NULL THEN
        RAISE EXCEPTION 'there is no agent %', v.agent_name USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF v_id = v.id AND p_embedding IS NOT NULL THEN
        PERFORM refuse_other_space(p_model, vector_dims(p_embedding), p_version);
        INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
        VALUES (v.agent_name, v_id, p_model, vector_dims(p_embedding), p_version, v.state = 'succeeded', p_embedding);
    ELSIF p_embedding IS NOT NULL THEN
        PERFORM store_embedding(v.agent_name, v_id, p_model, p_version, p_embedding);
    END IF;
    RETURN v_id;
END $$;
