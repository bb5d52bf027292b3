-- The quota that the trigger names, for a table of which each row counts once. Like images_within_quota.
CREATE FUNCTION rows_within_quota() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  used bigint;
BEGIN
  PERFORM aloft_hold_usage(NEW.project_id);
  EXECUTE format('SELECT count(*) FROM %I WHERE project_id = $1', TG_TABLE_NAME) INTO used USING NEW.project_id;
  PERFORM aloft_within_quota(NEW.project_id, TG_ARGV[0], used - 1, 1);
  RETURN NULL;
END $$;

CREATE TRIGGER webhooks_within_quota AFTER INSERT ON webhooks
  FOR EACH ROW EXECUTE FUNCTION rows_within_quota('webhooks');
