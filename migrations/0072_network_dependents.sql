-- What OVN has of one object may follow from another one.

-- An external network is a network: its rows are named by both kinds, of which one finds it.
CREATE TRIGGER external_networks_tell AFTER INSERT OR UPDATE OR DELETE ON networks
  FOR EACH ROW EXECUTE FUNCTION tell_network_change('external_network', 'id');

-- A NIC that goes takes its floating IP's way and its place behind load balancers along.
CREATE FUNCTION nics_tell_dependents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO network_changes (kind, id)
  SELECT 'floating_ip', id FROM floating_ips WHERE nic_id = NEW.id
   UNION ALL
  SELECT DISTINCT 'load_balancer', m.load_balancer_id
    FROM addresses a JOIN load_balancer_members m ON m.nic_id = NEW.id OR (m.subnet_id, m.address) = (a.subnet_id, a.address)
   WHERE a.nic_id = NEW.id;
  RETURN NULL;
END $$;

CREATE TRIGGER nics_tell_dependents AFTER UPDATE OF deleted_at ON nics
  FOR EACH ROW EXECUTE FUNCTION nics_tell_dependents();

-- Which node a NIC's port may be on.
CREATE FUNCTION claims_tell_nics() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO network_changes (kind, id) SELECT 'nic', id FROM nics WHERE vm_id = coalesce(NEW.vm_id, OLD.vm_id);
  RETURN NULL;
END $$;

CREATE TRIGGER claims_tell_nics AFTER INSERT OR DELETE ON claims FOR EACH ROW EXECUTE FUNCTION claims_tell_nics();

-- Which nodes a router's way out may go through.
CREATE FUNCTION nodes_tell_routers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO network_changes (kind, id) SELECT 'router', id FROM routers WHERE external_network_id IS NOT NULL;
  RETURN NULL;
END $$;

CREATE TRIGGER nodes_tell_routers_of_change AFTER UPDATE OF networking ON nodes
  FOR EACH ROW WHEN (OLD.networking IS DISTINCT FROM NEW.networking) EXECUTE FUNCTION nodes_tell_routers();
CREATE TRIGGER nodes_tell_routers AFTER INSERT OR DELETE ON nodes
  FOR EACH STATEMENT EXECUTE FUNCTION nodes_tell_routers();
