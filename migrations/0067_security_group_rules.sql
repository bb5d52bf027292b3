-- A group says a thing once.
CREATE UNIQUE INDEX security_group_rules_same ON security_group_rules
  (group_id, direction, ip_version, protocol, first_port, last_port, icmp_type, icmp_code, remote_cidr, remote_group_id)
  NULLS NOT DISTINCT;

-- The default group, which comes with its project, counts neither when it is made nor later: a second argument says which rows do.
CREATE OR REPLACE FUNCTION rows_within_quota() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  used bigint;
BEGIN
  PERFORM aloft_hold_usage(NEW.project_id);
  EXECUTE format('SELECT count(*) FROM %I WHERE project_id = $1 AND %s', TG_TABLE_NAME, coalesce(TG_ARGV[1], 'true'))
     INTO used USING NEW.project_id;
  PERFORM aloft_within_quota(NEW.project_id, TG_ARGV[0], used - 1, 1);
  RETURN NULL;
END $$;

DROP TRIGGER security_groups_within_quota ON security_groups;
CREATE TRIGGER security_groups_within_quota AFTER INSERT ON security_groups
  FOR EACH ROW WHEN (NOT NEW.is_default) EXECUTE FUNCTION rows_within_quota('security_groups', 'NOT is_default');
