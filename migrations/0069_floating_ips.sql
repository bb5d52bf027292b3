-- Addresses of external networks that lead to NICs; the address itself is in addresses.
CREATE TABLE floating_ips (
  id         uuid PRIMARY KEY,
  project_id uuid NOT NULL REFERENCES projects,
  labels     jsonb NOT NULL DEFAULT '{}',
  network_id uuid NOT NULL REFERENCES networks,
  -- What answers for it on the wire.
  mac        macaddr NOT NULL,
  nic_id     uuid REFERENCES nics ON DELETE SET NULL,
  -- In which the NIC has the address that is meant; while it leads there, the subnet keeps its router.
  subnet_id  uuid REFERENCES router_interfaces (subnet_id),
  revision   bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((nic_id IS NULL) = (subnet_id IS NULL))
);

CREATE UNIQUE INDEX floating_ips_nic ON floating_ips (nic_id);
CREATE INDEX floating_ips_by_project ON floating_ips (project_id, id);
CREATE INDEX floating_ips_by_network ON floating_ips (network_id);
CREATE INDEX floating_ips_by_subnet ON floating_ips (subnet_id) WHERE subnet_id IS NOT NULL;

-- The NIC is gone.
CREATE FUNCTION floating_ips_lead_nowhere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.subnet_id := NULL;
  RETURN NEW;
END $$;

CREATE TRIGGER floating_ips_lead_nowhere BEFORE UPDATE ON floating_ips
  FOR EACH ROW WHEN (NEW.nic_id IS NULL) EXECUTE FUNCTION floating_ips_lead_nowhere();

CREATE TRIGGER floating_ips_within_quota AFTER INSERT ON floating_ips
  FOR EACH ROW EXECUTE FUNCTION rows_within_quota('floating_ips');

ALTER TABLE addresses ADD CONSTRAINT addresses_floating_ip_id_fkey
  FOREIGN KEY (floating_ip_id) REFERENCES floating_ips ON DELETE SET NULL;
CREATE UNIQUE INDEX addresses_by_floating_ip ON addresses (floating_ip_id) WHERE floating_ip_id IS NOT NULL;

CREATE TRIGGER floating_ips_tell AFTER INSERT OR UPDATE OR DELETE ON floating_ips
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('floating_ip', 'id');
