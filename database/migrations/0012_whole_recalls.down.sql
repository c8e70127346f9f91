ALTER TABLE missions DROP CONSTRAINT missions_recalled_whole, DROP CONSTRAINT missions_control_recalls_nothing;
DROP FUNCTION is_recalled(jsonb);
