-- From a delivery to a remembered outcome: inbox → mission → outcome, and an outbox for all that leaves PostgreSQL.

CREATE TABLE inbox (
    delivery_id text PRIMARY KEY CHECK (delivery_id <> '' AND length(delivery_id) <= 100),
    sequence bigint GENERATED ALWAYS AS IDENTITY,  -- deliveries are taken in the order in which they were stored
    event text NOT NULL,
    repository text NOT NULL,
    payload jsonb NOT NULL,
    payload_digest text NOT NULL UNIQUE,  -- GitHub does not sign the id: a replay under another id is known by this
    received_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz,
    result text  -- what came of it, in words
);
CREATE INDEX inbox_waiting ON inbox (sequence) WHERE processed_at IS NULL;

CREATE TABLE missions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    repository text NOT NULL,
    issue_number integer NOT NULL,
    event text NOT NULL,  -- why this mission exists: opened, reopened:N, assigned:agent, retry:N
    title text NOT NULL,
    body text NOT NULL DEFAULT '',
    labels text[] NOT NULL DEFAULT '{}',
    author text NOT NULL DEFAULT '',
    zone text NOT NULL,
    region text,
    agent_name text REFERENCES agents,
    state text NOT NULL
        CHECK (state IN ('waiting', 'queued', 'running', 'done', 'declined', 'abstained', 'failed', 'cancelled')),
    reason text,
    score double precision,
    why jsonb NOT NULL DEFAULT '[]',
    candidates jsonb NOT NULL DEFAULT '[]',
    misrouted_from text,  -- the agent that the matcher chose where a person's label chose another
    paid boolean NOT NULL DEFAULT false,
    unchecked_logins text[] NOT NULL DEFAULT '{}',  -- people whose right to spend is to be looked up on GitHub
    approved_by text,  -- the person with write access for whom a paid mission started
    not_before timestamptz NOT NULL DEFAULT now(),
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    runner_id text,
    attempts integer NOT NULL DEFAULT 0,
    cancel_requested_by text,
    embedding vector,
    embedding_model text,
    arm text NOT NULL DEFAULT 'memory' CHECK (arm IN ('memory', 'control')),
    recalled jsonb,  -- NULL: not asked; []: asked, nothing similar
    answer text,
    tokens bigint NOT NULL DEFAULT 0,
    cost_usd numeric(14, 6) NOT NULL DEFAULT 0,
    comment_url text,
    person_comment jsonb,  -- {"login", "body"}: the last comment by a person, which may tell what solved the issue
    pr_number integer,
    -- Not now(): deliveries are taken in batches, and what came later in one must be newer.
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    claimed_at timestamptz,
    finished_at timestamptz,
    UNIQUE (repository, issue_number, event),
    CHECK (agent_name IS NOT NULL OR state IN ('abstained', 'failed')),
    CHECK ((state = 'running') = (lease_until IS NOT NULL))
);
-- An issue is never worked twice at once.
CREATE UNIQUE INDEX missions_one_live ON missions (repository, issue_number)
    WHERE state IN ('waiting', 'queued', 'running');
CREATE INDEX missions_claimable ON missions (agent_name, accepted_at) WHERE state IN ('queued', 'running');
CREATE INDEX missions_recent ON missions (accepted_at DESC);
CREATE INDEX missions_finished ON missions (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mission_id uuid NOT NULL REFERENCES missions ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('wake', 'comment', 'pull_request')),
    payload jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    not_before timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    done_at timestamptz,
    error text
);
CREATE UNIQUE INDEX outbox_one_effect ON outbox (mission_id, kind) WHERE kind <> 'wake';
CREATE INDEX outbox_wakes ON outbox (id) WHERE done_at IS NULL AND kind = 'wake';
CREATE INDEX outbox_effects ON outbox (id) WHERE done_at IS NULL AND kind <> 'wake';

-- Stops that an operator or the budget alarm set: all, agent:<name>, paid.
CREATE TABLE pauses (
    scope text PRIMARY KEY CHECK (scope IN ('all', 'paid') OR scope LIKE 'agent:%'),
    paused_by text NOT NULL,
    reason text NOT NULL DEFAULT '',
    paused_at timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE missions ENABLE ROW LEVEL SECURITY;
ALTER TABLE missions FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON missions TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY gateway_all ON missions TO gateway USING (true) WITH CHECK (true);
CREATE POLICY own_missions ON missions TO agents
    USING (agent_name = (SELECT current_agent())) WITH CHECK (agent_name = (SELECT current_agent()));

GRANT SELECT, INSERT, UPDATE, DELETE ON inbox, missions, outbox, pauses TO gateway;
GRANT SELECT ON missions, pauses TO agents;
GRANT UPDATE (state, reason, not_before, fence, lease_until, runner_id, attempts, claimed_at) ON missions TO agents;

-- What follows from a mission's end, whoever ended it: the outcome, the statistics, the effects on GitHub.
CREATE FUNCTION remember_outcome(
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
REVOKE ALL ON FUNCTION remember_outcome(missions, text, text, text[], jsonb) FROM PUBLIC;

-- Remember: one transaction, checked against the fence. FALSE: the lease has passed on and nothing was written.
-- p_effects: [{"kind": "comment"|"pull_request", "payload": {…}}]
CREATE FUNCTION finish_mission(
    p_mission uuid, p_fence bigint, p_state text, p_reason text, p_answer text, p_solution text, p_lessons text,
    p_files text[], p_tokens bigint, p_cost numeric, p_recalled jsonb, p_effects jsonb
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
    PERFORM remember_outcome(v_mission, p_solution, p_lessons, p_files, p_effects);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION finish_mission(uuid, bigint, text, text, text, text, text, text[], bigint, numeric, jsonb, jsonb)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION finish_mission(
    uuid, bigint, text, text, text, text, text, text[], bigint, numeric, jsonb, jsonb) TO agents;

-- A mission whose runners all died in it fails instead of killing runners for ever. How many did.
CREATE FUNCTION abandon_missions(p_max_attempts integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v_mission missions;
    v_count integer := 0;
BEGIN
    FOR v_mission IN
        UPDATE missions
        SET state = 'failed', lease_until = NULL, finished_at = clock_timestamp(), fence = fence + 1,
            reason = format('%s runners in a row did not finish it', attempts)
        WHERE state = 'running' AND lease_until < now() AND attempts >= p_max_attempts
        RETURNING *
    LOOP
        PERFORM remember_outcome(v_mission, '', NULL, '{}', jsonb_build_array(jsonb_build_object(
            'kind', 'comment', 'payload', jsonb_build_object('body', 'I could not finish this: ' || v_mission.reason || '.'))));
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END $$;
REVOKE ALL ON FUNCTION abandon_missions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION abandon_missions(integer) TO gateway;

-- Effects on GitHub that are due, oldest first, locked until the caller's transaction ends; SKIP LOCKED hands each to one
-- relay at a time. A comment waits for its mission's pull request, whose number it tells. The plan is fixed, because the
-- statistics of a queue are those of another hour: after a burst, PostgreSQL joined and sorted all of it for each effect.
CREATE FUNCTION take_effects(p_most integer, p_max_attempts integer) RETURNS TABLE (
    id bigint, kind text, payload jsonb, attempts integer, mission_id uuid, repository text, issue_number integer,
    agent_name text, pr_number integer
)
    LANGUAGE plpgsql SET search_path = public, pg_temp
    SET enable_sort = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT o.id, o.kind, o.payload, o.attempts, o.mission_id, m.repository, m.issue_number, m.agent_name, m.pr_number
    FROM outbox o JOIN missions m ON m.id = o.mission_id
    WHERE o.kind <> 'wake' AND o.done_at IS NULL AND o.not_before <= now() AND o.attempts < p_max_attempts
      AND (o.kind = 'pull_request' OR NOT EXISTS (
          SELECT FROM outbox first WHERE first.mission_id = o.mission_id AND first.kind = 'pull_request'
            AND first.done_at IS NULL AND first.attempts < p_max_attempts))
    ORDER BY o.id LIMIT p_most FOR UPDATE OF o SKIP LOCKED;
END $$;
REVOKE ALL ON FUNCTION take_effects(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_effects(integer, integer) TO gateway;

-- The repository has judged an outcome. p_state succeeded: recallable from now on; failed: refuted or reverted.
-- NULL where there is no such memory or it stands so already; else the memory's id.
CREATE FUNCTION judge_outcome(
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
REVOKE ALL ON FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean) TO gateway;

-- The gateway computes embeddings, so that no runner carries a model.
CREATE FUNCTION store_embedding(p_agent text, p_memory uuid, p_model text, p_version text, p_embedding vector)
    RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
SELECT p_agent, p_memory, p_model, vector_dims(p_embedding), p_version, state = 'succeeded', p_embedding
FROM agent_memories WHERE agent_name = p_agent AND id = p_memory
ON CONFLICT (agent_name, memory_id, model) DO UPDATE
    SET dimension = EXCLUDED.dimension, version = EXCLUDED.version, recallable = EXCLUDED.recallable,
        embedding = EXCLUDED.embedding
$$;
REVOKE ALL ON FUNCTION store_embedding(text, uuid, text, text, vector) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION store_embedding(text, uuid, text, text, vector) TO gateway;
