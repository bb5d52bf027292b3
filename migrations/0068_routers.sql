-- What leads from one subnet to another, and out of the cloud.
CREATE TABLE routers (
  id                  uuid PRIMARY KEY,
  project_id          uuid NOT NULL REFERENCES projects,
  name                text NOT NULL,
  labels              jsonb NOT NULL DEFAULT '{}',
  -- Where it leads out; its addresses there are in addresses.
  external_network_id uuid REFERENCES networks,
  external_mac        macaddr,
  -- Whether what goes out has the router's address there.
  snat                boolean NOT NULL DEFAULT true,
  -- [{"destination": …, "next_hop": …}]
  routes              jsonb NOT NULL DEFAULT '[]',
  revision            bigint NOT NULL DEFAULT 1,
  created_at          timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at          timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((external_network_id IS NULL) = (external_mac IS NULL))
);

CREATE UNIQUE INDEX routers_name ON routers (project_id, name);
CREATE INDEX routers_by_external_network ON routers (external_network_id) WHERE external_network_id IS NOT NULL;

CREATE TRIGGER routers_within_quota AFTER INSERT ON routers
  FOR EACH ROW EXECUTE FUNCTION rows_within_quota('routers');

-- A subnet has one router at most, which has the subnet's gateway as its address there. Subnets of one network share a port of the
-- router, and so its MAC address.
CREATE TABLE router_interfaces (
  subnet_id  uuid PRIMARY KEY REFERENCES subnets,
  router_id  uuid NOT NULL REFERENCES routers,
  network_id uuid NOT NULL REFERENCES networks,
  mac        macaddr NOT NULL
);

CREATE INDEX router_interfaces_by_router ON router_interfaces (router_id, network_id);
CREATE INDEX router_interfaces_by_network ON router_interfaces (network_id);

ALTER TABLE addresses ADD CONSTRAINT addresses_router_id_fkey
  FOREIGN KEY (router_id) REFERENCES routers ON DELETE SET NULL;
CREATE INDEX addresses_by_router ON addresses (router_id) WHERE router_id IS NOT NULL;

CREATE TRIGGER routers_tell AFTER INSERT OR UPDATE OR DELETE ON routers
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('router', 'id');
CREATE TRIGGER router_interfaces_tell AFTER INSERT OR UPDATE OR DELETE ON router_interfaces
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('router', 'router_id');
-- Guests are told of their gateway by DHCP once there is one.
CREATE TRIGGER router_interfaces_tell_network AFTER INSERT OR UPDATE OR DELETE ON router_interfaces
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('network', 'network_id');
