-- What a mission recalled is whole, so that whoever reads it need not look out for half an entry; and a mission that works
-- without memory recalled nothing.

-- Whether p is an array of recalled works, each with what is shown of it, or, once that was erased, with the figure alone.
CREATE FUNCTION is_recalled(p jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
SELECT jsonb_typeof(p) = 'array' AND NOT EXISTS (
    SELECT FROM jsonb_array_elements(CASE jsonb_typeof(p) WHEN 'array' THEN p ELSE '[]' END) AS r
    WHERE (jsonb_typeof(r) = 'object'
           AND r->>'memory_id' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
           AND jsonb_typeof(r->'similarity') = 'number' AND r->'similarity' BETWEEN '0' AND '1'
           AND (r = jsonb_build_object('memory_id', r->'memory_id', 'similarity', r->'similarity')
                OR jsonb_typeof(r->'issue_number') = 'number' AND jsonb_typeof(r->'issue_title') = 'string'
                   AND jsonb_typeof(r->'why') = 'string')) IS NOT TRUE)
$$;
REVOKE ALL ON FUNCTION is_recalled(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION is_recalled(jsonb) TO gateway, agents;  -- whoever changes a mission runs its checks

-- Of half an entry the figure stays, where it tells one.
UPDATE missions SET recalled = CASE WHEN arm <> 'control' AND jsonb_typeof(recalled) = 'array' THEN (
    SELECT coalesce(jsonb_agg(CASE WHEN is_recalled(jsonb_build_array(r)) THEN r ELSE figure END)
                    FILTER (WHERE is_recalled(jsonb_build_array(figure))), '[]')
    FROM jsonb_array_elements(recalled) AS r
    CROSS JOIN LATERAL jsonb_build_object('memory_id', r->'memory_id', 'similarity', r->'similarity') AS figure) END
WHERE NOT is_recalled(recalled) OR arm = 'control' AND recalled IS NOT NULL;

ALTER TABLE missions
    ADD CONSTRAINT missions_recalled_whole CHECK (is_recalled(recalled)),
    ADD CONSTRAINT missions_control_recalls_nothing CHECK (arm <> 'control' OR recalled IS NULL);
