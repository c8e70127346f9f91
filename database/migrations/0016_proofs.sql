-- What proves a work is the repository's to say, and what an agent failed at is not its to read.

-- An agent claims and holds missions; how one of its own ended (the answer, the reason) tells of failures, and one that
-- waits for somebody who may spend is not its to start.
ALTER POLICY own_missions ON missions
    USING (agent_name = (SELECT current_agent()) AND state IN ('queued', 'running'))
    WITH CHECK (agent_name = (SELECT current_agent()) AND state IN ('queued', 'running'));

-- As before, but an agent names no pull request and no score for its work, which another's merge would prove; and what is
-- stored again changes nothing, its vector neither.
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
    IF v_agent IS NOT NULL THEN
        v.pr_number := NULL;
        v.pr_merged := NULL;
        v.review_score := NULL;
        IF v.state = 'succeeded' THEN
            v.state := 'pending';
            v.proven_by := NULL;
        END IF;
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
    END IF;
    RETURN v_id;
END $$;

-- As before. p_unless_refuted: a word as weak as the closing of an issue proves what nobody has judged or only a
-- reopening refuted; a person's label, a pull request that was not merged, a revert and a mission that failed stand.
-- And a success learns its pull request's number later, too, so that a revert of that finds it.
DROP FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean, text);
CREATE FUNCTION judge_outcome(
    p_mission uuid, p_state text, p_by text, p_solution text DEFAULT NULL, p_pr integer DEFAULT NULL,
    p_merged boolean DEFAULT NULL, p_reverted boolean DEFAULT false, p_solution_by text DEFAULT NULL,
    p_unless_refuted boolean DEFAULT false
) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v_agent text;
    v_id uuid;
    v_before text;
    v_proven_by text;
BEGIN
    IF p_state NOT IN ('succeeded', 'failed') THEN
        RAISE EXCEPTION 'an outcome is judged succeeded or failed, not %', p_state;
    END IF;
    SELECT agent_name INTO v_agent FROM missions WHERE id = p_mission;
    IF v_agent IS NULL THEN
        SELECT agent_name INTO v_agent FROM agent_memories WHERE mission_id = p_mission;
    END IF;
    SELECT id, state, proven_by INTO v_id, v_before, v_proven_by FROM agent_memories
    WHERE agent_name = v_agent AND mission_id = p_mission FOR UPDATE;
    IF v_before = 'succeeded' AND p_state = 'succeeded' THEN
        UPDATE agent_memories SET pr_number = p_pr, pr_merged = p_merged
        WHERE agent_name = v_agent AND id = v_id AND pr_number IS NULL AND p_pr IS NOT NULL;
    END IF;
    IF v_id IS NULL OR v_before = p_state
       OR p_unless_refuted AND v_before = 'failed' AND coalesce(v_proven_by, '') NOT LIKE '%: reopened' THEN
        RETURN NULL;
    END IF;
    UPDATE agent_memories
    SET state = p_state, proven_by = p_by, proven_at = now(),
        solution_approach = coalesce(nullif(p_solution, ''), solution_approach),
        -- Who stood there stays: the lessons are still the former ones.
        solution_authors = CASE WHEN p_solution <> '' AND p_solution_by <> ALL(solution_authors)
            THEN solution_authors || p_solution_by ELSE solution_authors END,
        pr_number = coalesce(p_pr, pr_number), pr_merged = coalesce(p_merged, pr_merged),
        reverted_at = CASE WHEN p_reverted THEN now() END
    WHERE agent_name = v_agent AND id = v_id;
    UPDATE agent_memory_embeddings SET recallable = (p_state = 'succeeded')
    WHERE agent_name = v_agent AND memory_id = v_id;
    UPDATE agent_performance
    SET successful_missions = successful_missions + (p_state = 'succeeded')::integer - (v_before = 'succeeded')::integer,
        failed_missions = failed_missions + (p_state = 'failed')::integer - (v_before = 'failed')::integer,
        last_updated = now()
    WHERE agent_name = v_agent;
    RETURN v_id;
END $$;
REVOKE ALL ON FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean, text, boolean) TO gateway;
