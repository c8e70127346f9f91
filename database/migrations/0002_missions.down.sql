-- The way back drops missions that are not final: drain first (`python -m runner pause`).
DROP FUNCTION store_embedding(text, uuid, text, text, vector);
DROP FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean);
DROP FUNCTION finish_mission(uuid, bigint, text, text, text, text, text, text[], bigint, numeric, jsonb, jsonb);
DROP TABLE pauses, outbox, missions, inbox;
