-- What an outcome tells of itself: whose words its solution holds, since when it is known here, and whether it is a
-- past work that was loaded, whose pull request's lifetime is no mission's resolution time.

ALTER TABLE agent_memories
    ADD COLUMN solution_authors text[] NOT NULL DEFAULT '{}',  -- people whose words solution or lessons may hold
    ADD COLUMN stored_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN backfilled boolean NOT NULL DEFAULT false;

-- A loaded work had its mission's id for its own. When it was loaded, its oldest vector tells best.
UPDATE agent_memories SET
    backfilled = id = mission_id,
    stored_at = CASE WHEN id = mission_id THEN coalesce((
        SELECT min(e.created_at) FROM agent_memory_embeddings e
        WHERE e.agent_name = agent_memories.agent_name AND e.memory_id = agent_memories.id), created_at)
    ELSE created_at END;

-- Where the mission was pruned, the comment with which somebody closed the issue may be the solution.
UPDATE agent_memories m SET solution_authors = ARRAY[known.author]
FROM (
    SELECT o.agent_name, o.id, CASE WHEN s.id IS NULL THEN substr(o.proven_by, 1, length(o.proven_by) - length(': closed'))
                                    ELSE s.person_comment->>'login' END AS author
    FROM agent_memories o LEFT JOIN missions s ON s.id = o.mission_id
    WHERE o.solution_approach <> '' AND (
        s.id IS NULL AND o.proven_by LIKE '_%: closed' OR s.person_comment->>'body' = o.solution_approach)) AS known
WHERE m.agent_name = known.agent_name AND m.id = known.id AND known.author IS NOT NULL;

-- A mean needs the number of its own terms.
ALTER TABLE agent_performance
    ADD COLUMN timed_missions integer NOT NULL DEFAULT 0 CHECK (timed_missions >= 0);
UPDATE agent_performance SET timed_missions = total_missions WHERE avg_resolution_time_minutes IS NOT NULL;
UPDATE agent_performance p SET
    timed_missions = own.timed, avg_resolution_time_minutes = own.minutes
FROM (
    SELECT agent_name, count(resolution_time_minutes) FILTER (WHERE NOT backfilled)::integer AS timed,
           avg(resolution_time_minutes) FILTER (WHERE NOT backfilled) AS minutes
    FROM agent_memories GROUP BY agent_name HAVING bool_or(backfilled)) AS own
WHERE p.agent_name = own.agent_name;

CREATE OR REPLACE FUNCTION add_outcome(v agent_memories) RETURNS uuid
    LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
DECLARE
    v_id uuid;
BEGIN
    INSERT INTO agent_memories (
        agent_name, id, mission_id, agent_specialization, repository, issue_number, issue_title, issue_body,
        issue_labels, issue_author, solution_approach, lessons_learned, files, state, proven_by, proven_at,
        resolution_time_minutes, pr_number, pr_merged, review_score, tokens, cost_usd, arm, recalled_count, solution_authors)
    SELECT v.agent_name, coalesce(v.id, gen_random_uuid()), v.mission_id, a.specialization, v.repository,
           v.issue_number, v.issue_title, coalesce(v.issue_body, ''), coalesce(v.issue_labels, '{}'),
           coalesce(v.issue_author, ''), v.solution_approach, v.lessons_learned, coalesce(v.files, '{}'), v.state,
           v.proven_by,
           CASE WHEN v.state = 'succeeded' THEN now() END, v.resolution_time_minutes, v.pr_number, v.pr_merged,
           v.review_score, coalesce(v.tokens, 0), coalesce(v.cost_usd, 0), coalesce(v.arm, 'memory'),
           coalesce(v.recalled_count, 0), coalesce(v.solution_authors, '{}')
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
            (coalesce(avg_resolution_time_minutes, 0) * timed_missions + v.resolution_time_minutes)
            / (timed_missions + 1), avg_resolution_time_minutes),
        timed_missions = timed_missions + (v.resolution_time_minutes IS NOT NULL)::integer,
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

DROP FUNCTION remember_outcome(missions, text, text, text[], jsonb);
CREATE FUNCTION remember_outcome(
    v_mission missions, p_solution text, p_lessons text, p_files text[], p_effects jsonb,
    p_authors text[] DEFAULT '{}'
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
        v.solution_authors := p_authors;
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
REVOKE ALL ON FUNCTION remember_outcome(missions, text, text, text[], jsonb, text[]) FROM PUBLIC;

-- As before, and with those whose words the solution may repeat, since the runner had recalled works of theirs.
DROP FUNCTION finish_mission(uuid, bigint, text, text, text, text, text, text[], bigint, numeric, jsonb, jsonb);
CREATE FUNCTION finish_mission(
    p_mission uuid, p_fence bigint, p_state text, p_reason text, p_answer text, p_solution text, p_lessons text,
    p_files text[], p_tokens bigint, p_cost numeric, p_recalled jsonb, p_effects jsonb,
    p_authors text[] DEFAULT '{}'
) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v_mission missions;
BEGIN
    IF p_state NOT IN ('done', 'declined', 'failed', 'cancelled') THEN
        RAISE EXCEPTION 'a runner cannot finish a mission as %', p_state;
    END IF;
    UPDATE missions
    SET state = p_state, reason = p_reason, answer = p_answer, tokens = p_tokens,
        -- What was reserved counts too: a runner that died in a call may have spent it.
        cost_usd = greatest(p_cost, (
            SELECT coalesce(sum(coalesce(settled_usd, reserved_usd)), 0) FROM spending WHERE mission_id = p_mission)),
        recalled = p_recalled, lease_until = NULL, finished_at = clock_timestamp()
    WHERE id = p_mission AND fence = p_fence AND state = 'running' AND agent_name = current_agent()
    RETURNING * INTO v_mission;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM remember_outcome(v_mission, p_solution, p_lessons, p_files, p_effects, p_authors);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION finish_mission(
    uuid, bigint, text, text, text, text, text, text[], bigint, numeric, jsonb, jsonb, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION finish_mission(
    uuid, bigint, text, text, text, text, text, text[], bigint, numeric, jsonb, jsonb, text[]) TO agents;

-- As before, and with who wrote what becomes the solution.
DROP FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean);
CREATE FUNCTION judge_outcome(
    p_mission uuid, p_state text, p_by text, p_solution text DEFAULT NULL, p_pr integer DEFAULT NULL,
    p_merged boolean DEFAULT NULL, p_reverted boolean DEFAULT false, p_solution_by text DEFAULT NULL
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
REVOKE ALL ON FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean, text) TO gateway;
