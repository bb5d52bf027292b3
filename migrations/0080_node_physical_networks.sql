-- Which nodes have bridges to which physical networks: those that routers' ways out may go through. It follows from how nodes are
-- set up, not from who works at the moment: OVN sees that by itself, and lets another node take over. So nothing here changes
-- when an agent, Open vSwitch, ovn-controller or OVN's servers are away for a while.
CREATE TABLE node_physical_networks (
  physical_network text NOT NULL,
  node_id          uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
  -- Since when the node says that it has no bridge to it any more. Where no other node has one, such nodes count: what agents say
  -- never leaves routers without any node.
  withdrawn_at     timestamptz,
  PRIMARY KEY (physical_network, node_id)
);

CREATE INDEX node_physical_networks_by_node ON node_physical_networks (node_id);

CREATE FUNCTION nodes_have_physical_networks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  names text[] := ARRAY(SELECT jsonb_array_elements_text(NEW.networking -> 'physical_networks') ORDER BY 1);
BEGIN
  INSERT INTO node_physical_networks AS p (physical_network, node_id) SELECT DISTINCT n, NEW.id FROM unnest(names) n
  ON CONFLICT (physical_network, node_id) DO UPDATE SET withdrawn_at = NULL WHERE p.withdrawn_at IS NOT NULL;
  -- An agent that cannot ask Open vSwitch may not know its bridges.
  IF cardinality(names) > 0 OR NEW.networking ->> 'datapath' IS NOT NULL THEN
    UPDATE node_physical_networks SET withdrawn_at = aloft_now()
     WHERE node_id = NEW.id AND withdrawn_at IS NULL AND physical_network <> ALL (names);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER nodes_have_physical_networks AFTER INSERT ON nodes
  FOR EACH ROW WHEN (NEW.networking IS NOT NULL) EXECUTE FUNCTION nodes_have_physical_networks();
CREATE TRIGGER nodes_change_physical_networks AFTER UPDATE OF networking ON nodes
  FOR EACH ROW WHEN (NEW.networking IS NOT NULL AND NEW.networking IS DISTINCT FROM OLD.networking)
  EXECUTE FUNCTION nodes_have_physical_networks();

INSERT INTO node_physical_networks (physical_network, node_id)
SELECT DISTINCT p.name, n.id FROM nodes n, jsonb_array_elements_text(n.networking -> 'physical_networks') p (name);

-- Groups of nodes are an external network's; routers refer to them. One change for each external network of that wire, however many
-- routers there are.
CREATE FUNCTION physical_networks_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO network_changes (kind, id)
  SELECT 'external_network', id FROM networks WHERE physical_network = coalesce(NEW.physical_network, OLD.physical_network);
  RETURN NULL;
END $$;

CREATE TRIGGER physical_networks_tell AFTER INSERT OR UPDATE OR DELETE ON node_physical_networks
  FOR EACH ROW EXECUTE FUNCTION physical_networks_tell();

-- Nodes that are not to take new VMs carry gateways only where no other can.
CREATE FUNCTION nodes_tell_external_networks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO network_changes (kind, id)
  SELECT 'external_network', w.id FROM node_physical_networks p JOIN networks w ON w.physical_network = p.physical_network
   WHERE p.node_id = NEW.id;
  RETURN NULL;
END $$;

CREATE TRIGGER nodes_tell_external_networks AFTER UPDATE OF schedulable ON nodes
  FOR EACH ROW WHEN (OLD.schedulable <> NEW.schedulable) EXECUTE FUNCTION nodes_tell_external_networks();

DROP TRIGGER nodes_tell_routers_of_change ON nodes;
DROP TRIGGER nodes_tell_routers ON nodes;
DROP FUNCTION nodes_tell_routers();
