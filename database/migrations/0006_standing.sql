-- One rule for what an agent's record shows, and one way into memory for every outcome.

-- Wilson's bound of a rate (E. B. Wilson 1927), below or above it; z = 1.645 leaves 5 % beyond, 1.96 leaves 2.5 %.
CREATE FUNCTION wilson_bound(p_successes bigint, p_total bigint, p_above boolean, p_z double precision)
    RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
SELECT CASE WHEN p_total > 0 THEN greatest(0, least(1, (
    p_successes::double precision / p_total + p_z ^ 2 / (2 * p_total)
    + CASE WHEN p_above THEN p_z ELSE -p_z END * sqrt(
        p_successes::double precision / p_total * (1 - p_successes::double precision / p_total) / p_total
        + p_z ^ 2 / (4 * p_total::double precision ^ 2)))
    / (1 + p_z ^ 2 / p_total))) END
$$;

-- A group is entered only when at least 10 judged missions show it with 95 % confidence (one-sided).
CREATE FUNCTION standing(p_successes integer, p_failures integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
SELECT CASE
    WHEN p_successes + p_failures < 10 THEN 'unproven'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, false, 1.645) >= 0.85 THEN 'hall of fame'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, false, 1.645) >= 0.70 THEN 'high performer'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, true, 1.645) < 0.30 THEN 'eliminated'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, true, 1.645) < 0.50 THEN 'quarantined'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, true, 1.645) < 0.70 THEN 'needs improvement'
    ELSE 'unproven' END
$$;

REVOKE ALL ON FUNCTION wilson_bound(bigint, bigint, boolean, double precision), standing(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wilson_bound(bigint, bigint, boolean, double precision), standing(integer, integer)
    TO gateway;

ALTER TABLE agent_performance DROP COLUMN hall_of_fame, DROP COLUMN eliminated;
ALTER TABLE agent_performance
    ADD COLUMN standing text NOT NULL GENERATED ALWAYS AS (standing(successful_missions, failed_missions)) STORED,
    ADD COLUMN hall_of_fame boolean NOT NULL
        GENERATED ALWAYS AS (standing(successful_missions, failed_missions) = 'hall of fame') STORED,
    ADD COLUMN eliminated boolean NOT NULL
        GENERATED ALWAYS AS (standing(successful_missions, failed_missions) = 'eliminated') STORED;

-- Insert one outcome and count it; again for the same mission, nothing changes. The memory's id.
CREATE FUNCTION add_outcome(v agent_memories) RETURNS uuid
    LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
DECLARE
    v_id uuid;
BEGIN
    INSERT INTO agent_memories (
        agent_name, mission_id, agent_specialization, repository, issue_number, issue_title, issue_body, issue_labels,
        issue_author, solution_approach, lessons_learned, files, state, proven_by, proven_at, resolution_time_minutes,
        pr_number, pr_merged, review_score, tokens, cost_usd, arm, recalled_count)
    SELECT v.agent_name, v.mission_id, a.specialization, v.repository, v.issue_number, v.issue_title,
           coalesce(v.issue_body, ''), coalesce(v.issue_labels, '{}'), coalesce(v.issue_author, ''),
           v.solution_approach, v.lessons_learned, coalesce(v.files, '{}'), v.state, v.proven_by,
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
REVOKE ALL ON FUNCTION add_outcome(agent_memories) FROM PUBLIC;

CREATE OR REPLACE FUNCTION remember_outcome(
    v_mission missions, p_solution text, p_lessons text, p_files text[], p_effects jsonb
) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
DECLARE
    v agent_memories;
BEGIN
    IF v_mission.state IN ('done', 'failed') THEN
        v.agent_name := v_mission.agent_name;
        v.mission_id := v_mission.id;
        v.repository := v_mission.repository;
        v.issue_number := v_mission.issue_number;
        v.issue_title := v_mission.title;
        v.issue_body := v_mission.body;
        v.issue_labels := v_mission.labels;
        v.issue_author := v_mission.author;
        v.solution_approach := p_solution;
        v.lessons_learned := p_lessons;
        v.files := p_files;
        v.state := CASE v_mission.state WHEN 'failed' THEN 'failed' ELSE 'pending' END;
        v.resolution_time_minutes := extract(epoch FROM v_mission.finished_at - v_mission.claimed_at) / 60;
        v.tokens := v_mission.tokens;
        v.cost_usd := v_mission.cost_usd;
        v.arm := v_mission.arm;
        v.recalled_count := coalesce(jsonb_array_length(v_mission.recalled), 0);
        PERFORM add_outcome(v);
    END IF;
    INSERT INTO outbox (mission_id, kind, payload)
    SELECT v_mission.id, effect->>'kind', effect->'payload' FROM jsonb_array_elements(p_effects) AS effect
    WHERE effect->>'kind' <> 'wake'
    ON CONFLICT DO NOTHING;
END $$;

-- For work beside the mission flow: the outcome, its statistics and its vector in one transaction, once per mission_id.
-- p_outcome: columns of agent_memories. What an agent itself calls a success is pending: others have to prove it.
CREATE FUNCTION store_outcome(p_outcome jsonb, p_embedding vector, p_model text, p_version text) RETURNS uuid
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
    v_id := add_outcome(v);
    IF v_id IS NULL THEN
        RAISE EXCEPTION 'there is no agent %', v.agent_name USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF p_embedding IS NOT NULL THEN
        PERFORM store_embedding(v.agent_name, v_id, p_model, p_version, p_embedding);
    END IF;
    RETURN v_id;
END $$;
REVOKE ALL ON FUNCTION store_outcome(jsonb, vector, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store_outcome(jsonb, vector, text, text) TO gateway, agents;

-- As before, and also for outcomes whose mission was pruned or never was in this database.
CREATE OR REPLACE FUNCTION judge_outcome(
    p_mission uuid, p_state text, p_by text, p_solution text DEFAULT NULL, p_pr integer DEFAULT NULL,
    p_merged boolean DEFAULT NULL, p_reverted boolean DEFAULT false
) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v_agent text;
    v_id uuid;
    v_before text;
BEGIN
    IF p_state NOT IN ('succeeded', 'failed') THEN
        RAISE EXCEPTION 'an outcome is judged succeeded or failed, not %', p_state;
    END IF;
    SELECT agent_name INTO v_agent FROM missions WHERE id = p_mission;
    IF v_agent IS NULL THEN
        SELECT agent_name INTO v_agent FROM agent_memories WHERE mission_id = p_mission;
    END IF;
    SELECT id, state INTO v_id, v_before FROM agent_memories
    WHERE agent_name = v_agent AND mission_id = p_mission FOR UPDATE;
    IF v_id IS NULL OR v_before = p_state THEN
        RETURN NULL;
    END IF;
    UPDATE agent_memories
    SET state = p_state, proven_by = p_by, proven_at = now(),
        solution_approach = coalesce(nullif(p_solution, ''), solution_approach),
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
