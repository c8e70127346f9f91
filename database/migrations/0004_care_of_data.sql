-- What re-embedding, erasing, pruning and moving data need.

-- The one vector space that new missions and memories are embedded in. No row: nothing was embedded yet.
CREATE TABLE embedding_model (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    model text NOT NULL,
    dimension integer NOT NULL CHECK (dimension > 0),
    version text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
INSERT INTO embedding_model (model, dimension, version)
SELECT model, dimension, version FROM agent_memory_embeddings
GROUP BY model, dimension, version ORDER BY count(*) DESC LIMIT 1;
GRANT SELECT ON embedding_model TO gateway, agents;
GRANT INSERT ON embedding_model TO gateway;

-- Two dimensions or versions of one model stand side by side too, until the switch.
ALTER TABLE agent_memory_embeddings DROP CONSTRAINT agent_memory_embeddings_pkey;
ALTER TABLE agent_memory_embeddings ADD PRIMARY KEY (agent_name, memory_id, model, dimension, version);

-- Vectors of another space than the current one are refused: nothing could ever be compared with them.
CREATE OR REPLACE FUNCTION store_embedding(
    p_agent text, p_memory uuid, p_model text, p_version text, p_embedding vector
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v_current embedding_model;
BEGIN
    SELECT * INTO v_current FROM embedding_model;
    IF FOUND AND (v_current.model, v_current.dimension, v_current.version)
                 IS DISTINCT FROM (p_model, vector_dims(p_embedding), p_version) THEN
        RAISE EXCEPTION 'memories are embedded with % (dimension %, version %), not with % (dimension %, version %)',
            v_current.model, v_current.dimension, v_current.version, p_model, vector_dims(p_embedding), p_version
            USING HINT = '`python -m database reembed --to MODEL` changes the model of all memories';
    END IF;
    INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
    SELECT p_agent, p_memory, p_model, vector_dims(p_embedding), p_version, state = 'succeeded', p_embedding
    FROM agent_memories WHERE agent_name = p_agent AND id = p_memory
    ON CONFLICT (agent_name, memory_id, model, dimension, version) DO UPDATE
        SET recallable = EXCLUDED.recallable, embedding = EXCLUDED.embedding;
END $$;

-- Erased: the figures stay, all that a person wrote is gone, and nobody recalls it.
ALTER TABLE missions ADD COLUMN erased_at timestamptz;
ALTER TABLE agent_memories
    ADD COLUMN erased_at timestamptz,
    ADD COLUMN recalled_ids uuid[] NOT NULL DEFAULT '{}';  -- from its mission when that is pruned: whose words it may quote
ALTER POLICY own_successes ON agent_memories
    USING (agent_name = (SELECT current_agent()) AND state = 'succeeded' AND erased_at IS NULL);

-- Who was erased, as a digest, until the last backup that knew them is gone: the same must be done after a restore.
CREATE TABLE erasures (
    login_digest text PRIMARY KEY,  -- sha256 of the lower-case login
    erased_at timestamptz NOT NULL DEFAULT now()
);

-- Which exports stand in this database already.
CREATE TABLE imports (export_id uuid PRIMARY KEY, imported_at timestamptz NOT NULL DEFAULT now());

-- Retention, which the gateway's sweep enforces in small batches.
CREATE INDEX inbox_processed ON inbox (processed_at) WHERE processed_at IS NOT NULL;
CREATE INDEX outbox_done ON outbox (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX spending_reserved ON spending (reserved_at);
CREATE INDEX agent_memories_created ON agent_memories (created_at);
GRANT DELETE ON spending, spending_totals TO gateway;
GRANT SELECT, DELETE ON erasures TO gateway;

CREATE FUNCTION prune_missions(p_before timestamptz, p_most integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
WITH old AS (
    SELECT id, agent_name, recalled FROM missions WHERE finished_at < p_before
    ORDER BY finished_at LIMIT p_most FOR UPDATE SKIP LOCKED),
noted AS (
    UPDATE agent_memories m
    SET recalled_ids = ARRAY(SELECT (r->>'memory_id')::uuid FROM jsonb_array_elements(old.recalled) r WHERE r ? 'memory_id')
    FROM old
    WHERE m.agent_name = old.agent_name AND m.mission_id = old.id
      AND jsonb_typeof(old.recalled) = 'array' AND jsonb_array_length(old.recalled) > 0),
gone AS (DELETE FROM missions USING old WHERE missions.id = old.id RETURNING missions.id)
SELECT count(*)::integer FROM gone
$$;
CREATE FUNCTION prune_memories(p_before timestamptz, p_most integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
WITH old AS (
    SELECT agent_name, id FROM agent_memories WHERE created_at < p_before
    ORDER BY created_at LIMIT p_most FOR UPDATE SKIP LOCKED),
gone AS (
    DELETE FROM agent_memories m USING old WHERE m.agent_name = old.agent_name AND m.id = old.id RETURNING m.id)
SELECT count(*)::integer FROM gone
$$;
REVOKE ALL ON FUNCTION prune_missions(timestamptz, integer), prune_memories(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_missions(timestamptz, integer), prune_memories(timestamptz, integer) TO gateway;
