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

-- An agent's outcomes are pending for long, and recall reads the others only.
CREATE INDEX agent_memories_succeeded ON agent_memories (created_at) WHERE state = 'succeeded';

-- What may be similar to an issue, for `database.similarity` to judge: p_near by vector (none where p_embedding is
-- NULL), p_worded by the words of p_words among the newest 2,000, and the p_newest, each once.
-- The caller's policies apply (security invoker). One statement with the agent's name in it, planned anew each time, so
-- that one partition is opened instead of all, and an index of it is used where there is one; planning is most of the
-- cost of a small partition. Error AC002: the issue's vector is of another space.
CREATE FUNCTION recall_candidates(
    p_agent text, p_words text, p_embedding vector, p_model text, p_version text,
    p_near integer, p_worded integer, p_newest integer
) RETURNS TABLE (
    id uuid, issue_number integer, issue_title text, issue_body text, solution_approach text, lessons_learned text,
    files text[], created_at timestamptz, cosine double precision
)
    LANGUAGE plpgsql STABLE ROWS 50
    SET hnsw.iterative_scan = relaxed_order SET hnsw.ef_search = 100
    AS $$
DECLARE
    v_dimension integer := vector_dims(p_embedding);
    v_current embedding_model;
BEGIN
    IF p_embedding IS NOT NULL THEN
        SELECT * INTO v_current FROM embedding_model;
        IF (v_current.model, v_current.dimension, v_current.version) <> (p_model, v_dimension, p_version) THEN
            RAISE EXCEPTION USING ERRCODE = 'AC002', MESSAGE = format(
                'memories are embedded with %s (dimension %s, version %s), the issue with %s (dimension %s, version %s)',
                v_current.model, v_current.dimension, v_current.version, p_model, v_dimension, p_version);
        END IF;
    END IF;
    RETURN QUERY EXECUTE format($candidates$
        WITH near AS MATERIALIZED (
            SELECT e.memory_id FROM agent_memory_embeddings e
            WHERE e.agent_name = %2$L AND e.recallable
              AND e.model = %3$L AND e.dimension = %1$s AND e.version = %4$L
            ORDER BY e.embedding::vector(%1$s) <=> $1::vector(%1$s) LIMIT $2),
        newest AS MATERIALIZED (
            SELECT m.id, m.search, m.created_at FROM agent_memories m
            WHERE m.agent_name = %2$L AND m.state = 'succeeded' ORDER BY m.created_at DESC LIMIT 2000),
        chosen AS (
            SELECT memory_id FROM near
            UNION (SELECT n.id FROM newest n WHERE n.search @@ $3 ORDER BY ts_rank(n.search, $3) DESC LIMIT $4)
            UNION (SELECT n.id FROM newest n ORDER BY n.created_at DESC LIMIT $5))
        SELECT m.id, m.issue_number, m.issue_title, left(m.issue_body, 8000), m.solution_approach,
               m.lessons_learned, m.files, m.created_at, 1 - (e.embedding <=> $1)
        FROM chosen
        JOIN agent_memories m ON m.agent_name = %2$L AND m.id = chosen.memory_id AND m.state = 'succeeded'
        LEFT JOIN agent_memory_embeddings e ON e.agent_name = %2$L AND e.memory_id = m.id AND e.recallable
            AND e.model = %3$L AND e.dimension = %1$s AND e.version = %4$L
        $candidates$, coalesce(v_dimension, 1), p_agent, p_model, p_version)
    USING p_embedding, CASE WHEN p_embedding IS NOT NULL THEN p_near ELSE 0 END,
          replace(plainto_tsquery('english', p_words)::text, ' & ', ' | ')::tsquery, p_worded, p_newest;
END $$;
REVOKE ALL ON FUNCTION recall_candidates(text, text, vector, text, text, integer, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION recall_candidates(text, text, vector, text, text, integer, integer, integer)
    TO gateway, agents;
