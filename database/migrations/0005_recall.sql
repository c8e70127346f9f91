-- Recall: candidates inside one agent's partition, by vector, by words and by age, in one round trip.

-- Inline instead of in a TOAST table: an exact scan of 1,536 dimensions takes less than half the time (measured).
ALTER TABLE agent_memory_embeddings ALTER COLUMN embedding SET STORAGE MAIN;

-- Of a finished work, too, only what its issue said: the solution's words made no answer better, and cost every scan.
-- No GIN index: @@ is not leakproof, so under row-level security PostgreSQL must filter by the policy first and
-- never uses the index for an agent. Words are looked up in the newest memories by a scan instead.
ALTER TABLE agent_memories DROP COLUMN search;
ALTER TABLE agent_memories ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('english', issue_title), 'A') || setweight(to_tsvector('english', left(issue_body, 4000)), 'B')
) STORED;

-- Vectors are comparable only within one model, dimension and version.
ALTER TABLE missions ADD COLUMN embedding_version text NOT NULL DEFAULT '';

-- Loads pgvector, without which its settings cannot be named below.
SELECT '[1]'::vector;

-- What may be similar to an issue, for `database.similarity` to judge: p_near by vector (none where p_embedding is
-- NULL), p_worded by the words of p_words among the newest 2,000, and the p_newest; one found twice comes twice.
-- The caller's policies apply (security invoker). Planned anew each time, so that one partition is opened instead of
-- all, and an index of it is used where there is one. Error AC002: the issue's vector is of another space.
CREATE FUNCTION recall_candidates(
    p_agent text, p_words text, p_embedding vector, p_model text, p_version text,
    p_near integer, p_worded integer, p_newest integer
) RETURNS TABLE (
    id uuid, issue_number integer, issue_title text, issue_body text, solution_approach text, lessons_learned text,
    files text[], created_at timestamptz, cosine double precision
)
    LANGUAGE plpgsql STABLE ROWS 50
    SET plan_cache_mode = force_custom_plan SET hnsw.iterative_scan = relaxed_order SET hnsw.ef_search = 100
    AS $$
DECLARE
    v_dimension integer := vector_dims(p_embedding);
    v_current embedding_model;
    v_words tsquery;
    v_ids uuid[];
BEGIN
    IF p_embedding IS NOT NULL THEN
        SELECT * INTO v_current FROM embedding_model;
        IF (v_current.model, v_current.dimension, v_current.version) <> (p_model, v_dimension, p_version) THEN
            RAISE EXCEPTION USING ERRCODE = 'AC002', MESSAGE = format(
                'memories are embedded with %s (dimension %s, version %s), the issue with %s (dimension %s, version %s)',
                v_current.model, v_current.dimension, v_current.version, p_model, v_dimension, p_version);
        END IF;
        RETURN QUERY EXECUTE format($near$
            SELECT m.id, m.issue_number, m.issue_title, left(m.issue_body, 8000), m.solution_approach,
                   m.lessons_learned, m.files, m.created_at, 1 - near.distance
            FROM (
                SELECT e.memory_id, e.embedding::vector(%1$s) <=> $1::vector(%1$s) AS distance
                FROM agent_memory_embeddings e
                WHERE e.agent_name = %2$L AND e.recallable
                  AND e.model = %3$L AND e.dimension = %1$s AND e.version = %4$L
                ORDER BY distance LIMIT $2) near
            JOIN agent_memories m ON m.agent_name = %2$L AND m.id = near.memory_id AND m.state = 'succeeded'
            $near$, v_dimension, p_agent, p_model, p_version)
        USING p_embedding, p_near;
    END IF;
    IF p_worded > 0 OR p_newest > 0 THEN
        v_words := replace(plainto_tsquery('english', p_words)::text, ' & ', ' | ');
        v_ids := ARRAY(
            SELECT w.id FROM (
                SELECT m.id, m.search FROM agent_memories m WHERE m.agent_name = p_agent AND m.state = 'succeeded'
                ORDER BY m.created_at DESC LIMIT 2000) w
            WHERE w.search @@ v_words ORDER BY ts_rank(w.search, v_words) DESC LIMIT p_worded
        ) || ARRAY(
            SELECT m.id FROM agent_memories m WHERE m.agent_name = p_agent AND m.state = 'succeeded'
            ORDER BY m.created_at DESC LIMIT p_newest);
        RETURN QUERY
        SELECT m.id, m.issue_number, m.issue_title, left(m.issue_body, 8000), m.solution_approach,
               m.lessons_learned, m.files, m.created_at, 1 - (e.embedding <=> p_embedding)
        FROM agent_memories m LEFT JOIN agent_memory_embeddings e
            ON e.agent_name = p_agent AND e.memory_id = m.id AND e.recallable
            AND e.model = p_model AND e.dimension = v_dimension AND e.version = p_version
        WHERE m.agent_name = p_agent AND m.state = 'succeeded' AND m.id = ANY(v_ids);
    END IF;
END $$;
REVOKE ALL ON FUNCTION recall_candidates(text, text, vector, text, text, integer, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION recall_candidates(text, text, vector, text, text, integer, integer, integer)
    TO gateway, agents;
