-- While an operation empties a project, nothing more comes into it. All that comes asks this function, once the deletion has taken
-- the project's credit away.
CREATE OR REPLACE FUNCTION aloft_within_quota(project uuid, quota text, used bigint, asked bigint) RETURNS bigint
  LANGUAGE plpgsql AS $$
DECLARE
  most bigint := aloft_quota_limit(project, quota);
BEGIN
  IF asked > 0 AND EXISTS (SELECT 1 FROM operations WHERE resource_id = project AND finished_at IS NULL) THEN
    RAISE EXCEPTION 'project % is being deleted', project
      USING ERRCODE = 'check_violation', CONSTRAINT = 'project_stays';
  END IF;
  IF asked > 0 AND used + asked > most THEN
    RAISE EXCEPTION 'quota % of project % is exceeded', quota, project
      USING ERRCODE = 'check_violation', CONSTRAINT = 'within_quota',
            DETAIL = jsonb_build_object('quota', quota, 'limit', most, 'used', used, 'asked', asked);
  END IF;
  RETURN most;
END $$;
