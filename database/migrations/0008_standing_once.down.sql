CREATE OR REPLACE FUNCTION standing(p_successes integer, p_failures integer) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
SELECT CASE
    WHEN p_successes + p_failures < 10 THEN 'unproven'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, false, 1.645) >= 0.85 THEN 'hall of fame'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, false, 1.645) >= 0.70 THEN 'high performer'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, true, 1.645) < 0.30 THEN 'eliminated'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, true, 1.645) < 0.50 THEN 'quarantined'
    WHEN public.wilson_bound(p_successes, p_successes + p_failures, true, 1.645) < 0.70 THEN 'needs improvement'
    ELSE 'unproven' END
$$;
