-- Who has which address: the one place that says so. A row without an owner is an address that was given back, which rests for
-- a while before somebody else gets it: others may still know it as its old owner's.
CREATE TABLE addresses (
  subnet_id        uuid NOT NULL REFERENCES subnets ON DELETE CASCADE,
  address          inet NOT NULL,
  nic_id           uuid REFERENCES nics ON DELETE SET NULL,
  router_id        uuid,
  floating_ip_id   uuid,
  load_balancer_id uuid,
  released_at      timestamptz,
  PRIMARY KEY (subnet_id, address),
  CHECK (num_nonnulls(nic_id, router_id, floating_ip_id, load_balancer_id, released_at) = 1)
);

CREATE INDEX addresses_by_nic ON addresses (nic_id) WHERE nic_id IS NOT NULL;
CREATE INDEX addresses_released ON addresses (released_at) WHERE released_at IS NOT NULL;

CREATE FUNCTION addresses_are_given_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF num_nonnulls(NEW.nic_id, NEW.router_id, NEW.floating_ip_id, NEW.load_balancer_id, NEW.released_at) = 0 THEN
    NEW.released_at := aloft_now();
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER addresses_are_given_back BEFORE UPDATE ON addresses
  FOR EACH ROW EXECUTE FUNCTION addresses_are_given_back();
