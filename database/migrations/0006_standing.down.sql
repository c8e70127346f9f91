DROP FUNCTION store_outcome(jsonb, vector, text, text);
CREATE OR REPLACE FUNCTION remember_outcome(
    v_mission missions, p_solution text, p_lessons text, p_files text[], p_effects jsonb
) RETURNS void
    LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
DECLARE
    v_minutes double precision := extract(epoch FROM v_mission.finished_at - v_mission.claimed_at) / 60;
BEGIN
    IF v_mission.state IN ('done', 'failed') THEN
        INSERT INTO agent_memories (
            agent_name, mission_id, agent_specialization, repository, issue_number, issue_title, issue_body,
            issue_labels, issue_author, solution_approach, lessons_learned, files, state, resolution_time_minutes,
            tokens, cost_usd, arm, recalled_count)
        SELECT v_mission.agent_name, v_mission.id, a.specialization, v_mission.repository, v_mission.issue_number,
               v_mission.title, v_mission.body, v_mission.labels, v_mission.author, p_solution, p_lessons, p_files,
               CASE v_mission.state WHEN 'failed' THEN 'failed' ELSE 'pending' END, v_minutes,
               v_mission.tokens, v_mission.cost_usd, v_mission.arm, coalesce(jsonb_array_length(v_mission.recalled), 0)
        FROM agents a WHERE a.agent_name = v_mission.agent_name;
        UPDATE agent_performance
        SET total_missions = total_missions + 1,
            failed_missions = failed_missions + (v_mission.state = 'failed')::integer,
            avg_resolution_time_minutes =
                (coalesce(avg_resolution_time_minutes, 0) * total_missions + v_minutes) / (total_missions + 1),
            last_updated = now()
        WHERE agent_name = v_mission.agent_name;
    END IF;
    INSERT INTO outbox (mission_id, kind, payload)
    SELECT v_mission.id, effect->>'kind', effect->'payload' FROM jsonb_array_elements(p_effects) AS effect
    WHERE effect->>'kind' <> 'wake'
    ON CONFLICT DO NOTHING;
END $$;
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
DROP FUNCTION add_outcome(agent_memories);
ALTER TABLE agent_performance DROP COLUMN standing, DROP COLUMN hall_of_fame, DROP COLUMN eliminated;
ALTER TABLE agent_performance
    ADD COLUMN hall_of_fame boolean NOT NULL DEFAULT false, ADD COLUMN eliminated boolean NOT NULL DEFAULT false;
DROP FUNCTION standing(integer, integer);
DROP FUNCTION wilson_bound(bigint, bigint, boolean, double precision);
