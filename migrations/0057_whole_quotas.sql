-- 5.0 and 5e0 are the whole number 5 as well (JSON Schema, integer), and jsonb keeps them as they were written.
CREATE OR REPLACE FUNCTION aloft_quota_limit(project uuid, quota text) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT (CASE WHEN p.limits ? quota THEN p.limits ELSE d.limits END ->> quota)::numeric::bigint
    FROM quota_defaults d LEFT JOIN project_quotas p ON p.project_id = project
$$;
