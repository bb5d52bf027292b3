-- What VMs are connected to. Networks without a project are the cloud's ways out: external networks.
CREATE TABLE networks (
  id               uuid PRIMARY KEY,
  project_id       uuid REFERENCES projects,
  name             text NOT NULL,
  labels           jsonb NOT NULL DEFAULT '{}',
  mtu              integer NOT NULL CHECK (mtu >= 576),
  -- In which its VMs have names.
  dns_domain       text,
  -- The nodes' name for the wire, and the VLAN on it.
  physical_network text,
  vlan             integer CHECK (vlan BETWEEN 1 AND 4094),
  revision         bigint NOT NULL DEFAULT 1,
  created_at       timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at       timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((project_id IS NULL) = (physical_network IS NOT NULL)),
  CHECK (vlan IS NULL OR physical_network IS NOT NULL)
);

CREATE UNIQUE INDEX networks_name ON networks (project_id, name) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX networks_wire ON networks (physical_network, vlan) NULLS NOT DISTINCT
  WHERE physical_network IS NOT NULL;
CREATE INDEX networks_by_project ON networks (project_id, id);

CREATE TRIGGER networks_within_quota AFTER INSERT ON networks
  FOR EACH ROW WHEN (NEW.project_id IS NOT NULL) EXECUTE FUNCTION rows_within_quota('networks');
