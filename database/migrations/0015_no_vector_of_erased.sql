-- A gateway may have read a memory's text just before that was erased, and stores its vector just after: nothing is
-- stored then. It waits for an erasure that is being written.
CREATE OR REPLACE FUNCTION store_embedding(
    p_agent text, p_memory uuid, p_model text, p_version text, p_embedding vector
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
BEGIN
    PERFORM refuse_other_space(p_model, vector_dims(p_embedding), p_version);
    INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, version, recallable, embedding)
    SELECT p_agent, p_memory, p_model, vector_dims(p_embedding), p_version, state = 'succeeded', p_embedding
    FROM agent_memories WHERE agent_name = p_agent AND id = p_memory AND erased_at IS NULL
    FOR SHARE
    ON CONFLICT (agent_name, memory_id, model, dimension, version) DO UPDATE
        SET recallable = EXCLUDED.recallable, embedding = EXCLUDED.embedding;
END $$;
