-- The way back drops every memory: export first. Login roles stay; they belong to the cluster and own nothing.
DROP TABLE agent_deployments, agent_performance, agent_memory_embeddings, agent_memories;
DROP FUNCTION register_agent(text, name, text, text);
DROP FUNCTION current_agent();
DROP TABLE agents;
