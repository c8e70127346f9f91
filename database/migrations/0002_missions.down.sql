-- The way back drops missions that are not final: drain first (`python -m runner pause`).
DROP FUNCTION store_embedding(text, uuid, text, text, vector);
DROP FUNCTION judge_outcome(uuid, text, text, text, integer, boolean, boolean);
DROP FUNCTION finish_mission(uuid, bigint, text, text, text, text, text, text[], bigint, numeric, jsonb, jsonb);
DROP FUNCTION take_effects(integer, integer);
DROP FUNCTION abandon_missions(integer);
DROP FUNCTION remember_outcome(missions, text, text, text[], jsonb);
DROP TABLE pauses, outbox, missions, inbox;
