-- What of networks has changed and is not yet in OVN's northbound database: written by triggers with every change, removed by the
-- replica that has carried it over. One row for each change; rows of one object are one piece of work.
CREATE TABLE network_changes (
  seq  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  id   uuid NOT NULL,
  at   timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE INDEX network_changes_by_object ON network_changes (kind, id);

-- Which replica carries changes over, and what keeps it from that.
CREATE TABLE network_controller (
  only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  replica   uuid,
  seen_at   timestamptz NOT NULL DEFAULT aloft_now(),
  problem   text
);

INSERT INTO network_controller DEFAULT VALUES;

-- Arguments: the kind of the object that a row belongs to, and the column with its id.
CREATE FUNCTION tell_network_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
  becomes jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
BEGIN
  INSERT INTO network_changes (kind, id)
  SELECT DISTINCT TG_ARGV[0], v.id::uuid FROM (VALUES (was ->> TG_ARGV[1]), (becomes ->> TG_ARGV[1])) v (id)
   WHERE v.id IS NOT NULL;
  RETURN NULL;
END $$;

CREATE TRIGGER networks_tell AFTER INSERT OR UPDATE OR DELETE ON networks
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('network', 'id');
CREATE TRIGGER subnets_tell AFTER INSERT OR UPDATE OR DELETE ON subnets
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('network', 'network_id');
CREATE TRIGGER nics_tell AFTER INSERT OR UPDATE OR DELETE ON nics
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('nic', 'id');
CREATE TRIGGER nic_groups_tell AFTER INSERT OR DELETE ON nic_security_groups
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('nic', 'nic_id');
CREATE TRIGGER security_groups_tell AFTER INSERT OR DELETE ON security_groups
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('security_group', 'id');
CREATE TRIGGER security_group_rules_tell AFTER INSERT OR UPDATE OR DELETE ON security_group_rules
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('security_group', 'group_id');
