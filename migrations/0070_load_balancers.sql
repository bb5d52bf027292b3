-- One address whose ports lead to several members (layer 4). It is in addresses too, and so are those that members are tried from.
CREATE TABLE load_balancers (
  id         uuid PRIMARY KEY,
  project_id uuid NOT NULL REFERENCES projects,
  name       text NOT NULL,
  labels     jsonb NOT NULL DEFAULT '{}',
  network_id uuid NOT NULL REFERENCES networks,
  subnet_id  uuid NOT NULL REFERENCES subnets,
  address    inet NOT NULL,
  revision   bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE UNIQUE INDEX load_balancers_name ON load_balancers (project_id, name);
CREATE INDEX load_balancers_by_subnet ON load_balancers (subnet_id);
CREATE INDEX load_balancers_by_network ON load_balancers (network_id);

CREATE TABLE load_balancer_listeners (
  load_balancer_id uuid NOT NULL REFERENCES load_balancers ON DELETE CASCADE,
  protocol         text NOT NULL CHECK (protocol IN ('tcp', 'udp')),
  port             integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
  -- {"interval_seconds": …, "timeout_seconds": …, "failures": …, "successes": …}; null: members are not tried.
  health_check     jsonb,
  PRIMARY KEY (load_balancer_id, protocol, port)
);

-- A member is a NIC, by its address in a subnet, or any address of a subnet.
CREATE TABLE load_balancer_members (
  load_balancer_id uuid NOT NULL,
  protocol         text NOT NULL,
  port             integer NOT NULL,
  nic_id           uuid REFERENCES nics ON DELETE CASCADE,
  address          inet,
  subnet_id        uuid NOT NULL REFERENCES subnets,
  member_port      integer NOT NULL CHECK (member_port BETWEEN 1 AND 65535),
  FOREIGN KEY (load_balancer_id, protocol, port) REFERENCES load_balancer_listeners ON DELETE CASCADE,
  CHECK (num_nonnulls(nic_id, address) = 1)
);

CREATE UNIQUE INDEX load_balancer_members_same ON load_balancer_members
  (load_balancer_id, protocol, port, nic_id, address, member_port) NULLS NOT DISTINCT;
CREATE INDEX load_balancer_members_by_nic ON load_balancer_members (nic_id) WHERE nic_id IS NOT NULL;
CREATE INDEX load_balancer_members_by_subnet ON load_balancer_members (subnet_id);

CREATE TRIGGER load_balancers_within_quota AFTER INSERT ON load_balancers
  FOR EACH ROW EXECUTE FUNCTION rows_within_quota('load_balancers');

ALTER TABLE addresses ADD CONSTRAINT addresses_load_balancer_id_fkey
  FOREIGN KEY (load_balancer_id) REFERENCES load_balancers ON DELETE SET NULL;
CREATE INDEX addresses_by_load_balancer ON addresses (load_balancer_id) WHERE load_balancer_id IS NOT NULL;

CREATE TRIGGER load_balancers_tell AFTER INSERT OR UPDATE OR DELETE ON load_balancers
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('load_balancer', 'id');
CREATE TRIGGER load_balancer_listeners_tell AFTER INSERT OR UPDATE OR DELETE ON load_balancer_listeners
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('load_balancer', 'load_balancer_id');
CREATE TRIGGER load_balancer_members_tell AFTER INSERT OR UPDATE OR DELETE ON load_balancer_members
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('load_balancer', 'load_balancer_id');

-- Its clients come through the router of its subnet.
CREATE FUNCTION router_interfaces_tell_load_balancers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO network_changes (kind, id)
  SELECT 'load_balancer', id FROM load_balancers WHERE subnet_id = coalesce(NEW.subnet_id, OLD.subnet_id);
  RETURN NULL;
END $$;

CREATE TRIGGER router_interfaces_tell_load_balancers AFTER INSERT OR DELETE ON router_interfaces
  FOR EACH ROW EXECUTE FUNCTION router_interfaces_tell_load_balancers();
