-- A vector enters an HNSW index when `database index` next runs, not when it is stored: that took longer than all else of
-- storing it. Until then recall compares it exactly, as it does all vectors of a partition without such an index.

ALTER TABLE agent_memory_embeddings ADD COLUMN indexed boolean NOT NULL DEFAULT false;

-- Finds the few that no HNSW index knows, and tells at once where none is in one.
CREATE INDEX agent_memory_embeddings_indexed ON agent_memory_embeddings (indexed) WHERE recallable;
