-- What there is little of is counted when more of it comes, one transaction of a project at a time.
CREATE FUNCTION aloft_hold_usage(project uuid) RETURNS void LANGUAGE sql AS $$
  SELECT 1 FROM project_usage WHERE project_id = project AND slot = 0 FOR NO KEY UPDATE
$$;

CREATE FUNCTION images_within_quota() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  more_bytes bigint := coalesce(NEW.size_bytes, 0) - coalesce(OLD.size_bytes, 0);
  used record;
BEGIN
  PERFORM aloft_hold_usage(NEW.project_id);
  SELECT count(*) AS images, coalesce(sum(size_bytes), 0) AS bytes INTO used
    FROM images WHERE project_id = NEW.project_id;
  IF TG_OP = 'INSERT' THEN PERFORM aloft_within_quota(NEW.project_id, 'images', used.images - 1, 1); END IF;
  PERFORM aloft_within_quota(NEW.project_id, 'image_bytes', (used.bytes - more_bytes)::bigint, more_bytes);
  RETURN NULL;
END $$;

CREATE TRIGGER images_within_quota AFTER INSERT OR UPDATE OF size_bytes ON images
  FOR EACH ROW EXECUTE FUNCTION images_within_quota();

CREATE FUNCTION api_tokens_within_quota() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM aloft_hold_usage(NEW.project_id);
  PERFORM aloft_within_quota(
    NEW.project_id, 'tokens', (SELECT count(*) - 1 FROM api_tokens WHERE project_id = NEW.project_id), 1);
  RETURN NULL;
END $$;

CREATE TRIGGER api_tokens_within_quota AFTER INSERT ON api_tokens
  FOR EACH ROW WHEN (NEW.project_id IS NOT NULL) EXECUTE FUNCTION api_tokens_within_quota();
