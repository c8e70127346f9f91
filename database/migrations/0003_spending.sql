-- Dollars for model calls are reserved before each call, against the caps of the mission, the day and the month.

CREATE TABLE spending_caps (
    scope text PRIMARY KEY CHECK (scope IN ('mission', 'day', 'month')),
    usd numeric(14, 6) NOT NULL CHECK (usd >= 0)
);
-- The proposal: cost per mission < $5. Day and month start at nothing until an operator sets them.
INSERT INTO spending_caps VALUES ('mission', 5), ('day', 0), ('month', 0);

-- What counts against a cap: settled dollars, and reserved ones that are not settled (a crash leaves them counted).
CREATE TABLE spending_totals (
    scope text NOT NULL REFERENCES spending_caps,
    period text NOT NULL,  -- mission id, YYYY-MM-DD or YYYY-MM, UTC
    usd numeric(14, 6) NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, period)
);

CREATE TABLE spending (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    mission_id uuid NOT NULL,
    agent_name text NOT NULL,
    reserved_usd numeric(14, 6) NOT NULL CHECK (reserved_usd >= 0),
    settled_usd numeric(14, 6) CHECK (settled_usd >= 0),
    reserved_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz
);
CREATE INDEX spending_mission ON spending (mission_id);

GRANT SELECT ON spending, spending_totals TO gateway;
GRANT SELECT, UPDATE ON spending_caps TO gateway;

-- The reservation, or the scope whose cap would be passed (then nothing changed); both NULL: the fence has moved on.
CREATE FUNCTION reserve_spending(
    p_mission uuid, p_fence bigint, p_usd numeric, OUT reservation uuid, OUT refused_by text
)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v_agent text := current_agent();
    v_now timestamp := now() AT TIME ZONE 'UTC';
    v_scope text;
    v_period text;
BEGIN
    IF p_usd IS NULL OR p_usd < 0 OR p_usd = 'NaN' THEN
        RAISE EXCEPTION 'cannot reserve % dollars', p_usd;
    END IF;
    PERFORM FROM missions WHERE id = p_mission AND fence = p_fence AND state = 'running' AND agent_name = v_agent;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    BEGIN
        -- Always in this order, so that two runners never wait for each other.
        FOREACH v_scope IN ARRAY ARRAY['month', 'day', 'mission'] LOOP
            v_period := CASE v_scope WHEN 'month' THEN to_char(v_now, 'YYYY-MM') WHEN 'day' THEN to_char(v_now, 'YYYY-MM-DD')
                                     ELSE p_mission::text END;
            INSERT INTO spending_totals (scope, period) VALUES (v_scope, v_period) ON CONFLICT DO NOTHING;
            UPDATE spending_totals t SET usd = t.usd + p_usd
            FROM spending_caps c
            WHERE t.scope = v_scope AND t.period = v_period AND c.scope = v_scope AND t.usd + p_usd <= c.usd;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'AC001', MESSAGE = v_scope;
            END IF;
        END LOOP;
        INSERT INTO spending (mission_id, agent_name, reserved_usd) VALUES (p_mission, v_agent, p_usd) RETURNING id INTO reservation;
    EXCEPTION WHEN SQLSTATE 'AC001' THEN
        refused_by := v_scope;
    END;
END $$;
REVOKE ALL ON FUNCTION reserve_spending(uuid, bigint, numeric) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reserve_spending(uuid, bigint, numeric) TO agents;

-- What the call really cost; settles once, and a call that cost more than reserved is counted in full.
CREATE FUNCTION settle_spending(p_reservation uuid, p_usd numeric) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    v_row spending;
    v_at timestamp;
BEGIN
    UPDATE spending SET settled_usd = p_usd, settled_at = now()
    WHERE id = p_reservation AND settled_usd IS NULL AND agent_name = current_agent() RETURNING * INTO v_row;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_at := v_row.reserved_at AT TIME ZONE 'UTC';
    UPDATE spending_totals SET usd = usd - v_row.reserved_usd + p_usd
    WHERE scope = 'month' AND period = to_char(v_at, 'YYYY-MM');
    UPDATE spending_totals SET usd = usd - v_row.reserved_usd + p_usd
    WHERE scope = 'day' AND period = to_char(v_at, 'YYYY-MM-DD');
    UPDATE spending_totals SET usd = usd - v_row.reserved_usd + p_usd
    WHERE scope = 'mission' AND period = v_row.mission_id::text;
END $$;
REVOKE ALL ON FUNCTION settle_spending(uuid, numeric) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle_spending(uuid, numeric) TO agents;
