-- The addresses of a network. Subnets of one network do not overlap: whoever makes one has locked the network.
CREATE TABLE subnets (
  id               uuid PRIMARY KEY,
  network_id       uuid NOT NULL REFERENCES networks,
  project_id       uuid REFERENCES projects,
  name             text NOT NULL,
  labels           jsonb NOT NULL DEFAULT '{}',
  cidr             cidr NOT NULL,
  gateway          inet CHECK (gateway << cidr),
  -- How guests get their addresses.
  configuration    text NOT NULL CHECK (configuration IN ('dhcp', 'slaac', 'none')),
  dns_servers      inet[] NOT NULL DEFAULT '{}',
  host_routes      jsonb NOT NULL DEFAULT '[]',
  -- Ranges that are never given to anybody, as they were asked for.
  reserved         jsonb NOT NULL DEFAULT '[]',
  -- Of the network's metadata port, in IPv4.
  metadata_address inet CHECK (metadata_address << cidr),
  -- What is given out: ranges, by their first address and how many there are, computed from the above.
  pool_first       inet[] NOT NULL,
  pool_size        bigint[] NOT NULL CHECK (cardinality(pool_size) = cardinality(pool_first)),
  revision         bigint NOT NULL DEFAULT 1,
  created_at       timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at       timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE UNIQUE INDEX subnets_name ON subnets (project_id, name) NULLS NOT DISTINCT;
CREATE INDEX subnets_by_network ON subnets (network_id, id);

CREATE TRIGGER subnets_within_quota AFTER INSERT ON subnets
  FOR EACH ROW WHEN (NEW.project_id IS NOT NULL) EXECUTE FUNCTION rows_within_quota('subnets');
