-- The way back keeps of each memory one embedding a model. Erased outcomes stay erased, but old code would recall
-- their empty texts, so they go.
DROP FUNCTION prune_memories(timestamptz, integer);
DROP FUNCTION prune_missions(timestamptz, integer);
REVOKE DELETE ON spending, spending_totals FROM gateway;
DROP INDEX agent_memories_created, spending_reserved, outbox_done, inbox_processed;
DROP TABLE imports, erasures;
ALTER POLICY own_successes ON agent_memories
    USING (agent_name = (SELECT current_agent()) AND state = 'succeeded');
DELETE FROM agent_memories WHERE erased_at IS NOT NULL;
ALTER TABLE agent_memories DROP COLUMN erased_at, DROP COLUMN recalled_ids;
ALTER TABLE missions DROP COLUMN erased_at;
DELETE FROM agent_memory_embeddings e USING agent_memory_embeddings newer
WHERE newer.agent_name = e.agent_name AND newer.memory_id = e.memory_id AND newer.model = e.model
  AND (newer.created_at, newer.dimension, newer.version) > (e.created_at, e.dimension, e.version);
ALTER TABLE agent_memory_embeddings DROP CONSTRAINT agent_memory_embeddings_pkey;
ALTER TABLE agent_memory_embeddings ADD PRIMARY KEY (agent_name, memory_id, model);
CREATE OR REPLACE FUNCTION store_embedding(
    p_agent text, p_memory uuid, p_model text, p_version text, p_embedding vector
) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
SELECT p_agent, p_memory, p_model, vector_dims(p_embedding), p_version, state = 'succeeded', p_embedding
FROM agent_memories WHERE agent_name = p_agent AND id = p_memory
ON CONFLICT (agent_name, memory_id, model) DO UPDATE
    SET dimension = EXCLUDED.dimension, version = EXCLUDED.version, recallable = EXCLUDED.recallable,
        embedding = EXCLUDED.embedding
$$;
DROP TABLE embedding_model;
