-- HNSW indexes go with the column; the former `database index` makes them again.
DROP INDEX agent_memory_embeddings_indexed;
ALTER TABLE agent_memory_embeddings DROP COLUMN indexed;
