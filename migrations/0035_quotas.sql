-- How much a project may hold at most, by the names of quotas: the defaults, and what differs from them in single projects.
-- A quota that is not named is not limited; null in a project's limits lifts the default.
CREATE TABLE quota_defaults (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  limits   jsonb NOT NULL DEFAULT '{}',
  revision bigint NOT NULL DEFAULT 1
);

INSERT INTO quota_defaults DEFAULT VALUES;

CREATE TABLE project_quotas (
  project_id uuid PRIMARY KEY REFERENCES projects ON DELETE CASCADE,
  limits     jsonb NOT NULL,
  revision   bigint NOT NULL DEFAULT 1
);

CREATE FUNCTION aloft_quota_limit(project uuid, quota text) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT (CASE WHEN p.limits ? quota THEN p.limits ELSE d.limits END ->> quota)::bigint
    FROM quota_defaults d LEFT JOIN project_quotas p ON p.project_id = project
$$;

-- The project's limit, or null; an error if more than it is asked for. Whoever calls holds a lock that keeps `used` as it is.
CREATE FUNCTION aloft_within_quota(project uuid, quota text, used bigint, asked bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  most bigint := aloft_quota_limit(project, quota);
BEGIN
  IF asked > 0 AND used + asked > most THEN
    RAISE EXCEPTION 'quota % of project % is exceeded', quota, project
      USING ERRCODE = 'check_violation', CONSTRAINT = 'within_quota',
            DETAIL = jsonb_build_object('quota', quota, 'limit', most, 'used', used, 'asked', asked);
  END IF;
  RETURN most;
END $$;
