-- A member that is given by its address is tried like the NIC that has it, which changes with who has the address.
CREATE FUNCTION addresses_tell_load_balancers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO network_changes (kind, id)
  SELECT DISTINCT 'load_balancer', load_balancer_id FROM load_balancer_members
   WHERE subnet_id = NEW.subnet_id AND address = NEW.address;
  RETURN NULL;
END $$;

CREATE TRIGGER addresses_tell_load_balancers AFTER INSERT ON addresses
  FOR EACH ROW WHEN (NEW.nic_id IS NOT NULL) EXECUTE FUNCTION addresses_tell_load_balancers();
CREATE TRIGGER addresses_tell_load_balancers_of_change AFTER UPDATE OF nic_id ON addresses
  FOR EACH ROW WHEN (OLD.nic_id IS DISTINCT FROM NEW.nic_id) EXECUTE FUNCTION addresses_tell_load_balancers();

CREATE INDEX load_balancer_members_by_address ON load_balancer_members (subnet_id, address);
DROP INDEX load_balancer_members_by_subnet;
