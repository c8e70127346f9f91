DROP FUNCTION recall_candidates(text, text, vector, text, text, integer, integer, integer);
DROP INDEX agent_memories_succeeded;
ALTER TABLE missions DROP COLUMN embedding_version;
ALTER TABLE agent_memories DROP COLUMN search;
ALTER TABLE agent_memories ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('english', issue_title), 'A')
    || setweight(to_tsvector('english', left(issue_body, 20000)), 'B')
    || setweight(to_tsvector('english', left(solution_approach, 20000)), 'C')
) STORED;
CREATE INDEX agent_memories_search ON agent_memories USING gin (search) WHERE state = 'succeeded';
ALTER TABLE agent_memory_embeddings ALTER COLUMN embedding SET STORAGE EXTERNAL;
