-- Blocks of addresses that are a project's own on an external network, too: what a router of the project sends there need not be
-- translated. Everything else from elsewhere is dropped.
CREATE TABLE routed_blocks (
  network_id uuid NOT NULL REFERENCES networks ON DELETE CASCADE,
  cidr       cidr NOT NULL,
  project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
  PRIMARY KEY (network_id, cidr)
);

CREATE INDEX routed_blocks_by_project ON routed_blocks (project_id, network_id);

CREATE TRIGGER routed_blocks_tell AFTER INSERT OR UPDATE OR DELETE ON routed_blocks
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('external_network', 'network_id');
