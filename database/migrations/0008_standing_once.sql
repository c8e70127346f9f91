-- As before, in a language that is not inlined: PostgreSQL unfolded the three columns that call it, bounds and all, anew for
-- every judged outcome, which took two thirds of storing one (bench/memory).

CREATE OR REPLACE FUNCTION standing(p_successes integer, p_failures integer) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    v_judged bigint := p_successes + p_failures;
    v_above double precision;
    v_below double precision;
BEGIN
    IF v_judged < 10 THEN
        RETURN 'unproven';
    END IF;
    v_above := public.wilson_bound(p_successes, v_judged, false, 1.645);
    v_below := public.wilson_bound(p_successes, v_judged, true, 1.645);
    RETURN CASE
        WHEN v_above >= 0.85 THEN 'hall of fame'
        WHEN v_above >= 0.70 THEN 'high performer'
        WHEN v_below < 0.30 THEN 'eliminated'
        WHEN v_below < 0.50 THEN 'quarantined'
        WHEN v_below < 0.70 THEN 'needs improvement'
        ELSE 'unproven' END;
END $$;
