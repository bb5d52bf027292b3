-- A node's vCPUs, memory and disk, held for one incarnation of a VM.
CREATE TABLE claims (
  vm_id       uuid NOT NULL REFERENCES vms,
  incarnation bigint NOT NULL,
  node_id     uuid NOT NULL REFERENCES nodes,
  purpose     text NOT NULL DEFAULT 'run' CHECK (purpose IN ('run')),
  vcpus       bigint NOT NULL CHECK (vcpus > 0),
  memory_mib  bigint NOT NULL CHECK (memory_mib > 0),
  disk_gib    bigint NOT NULL CHECK (disk_gib > 0),
  created_at  timestamptz NOT NULL DEFAULT aloft_now(),
  PRIMARY KEY (vm_id, incarnation)
);

-- One VM, one place.
CREATE UNIQUE INDEX claims_one_run_per_vm ON claims (vm_id) WHERE purpose = 'run';
CREATE INDEX claims_by_node ON claims (node_id);

-- The node's sums move with its claims, whoever writes them; a claim over the limit is refused here, under the row's lock.
CREATE FUNCTION claims_move_node_sums() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE nodes SET vcpus_claimed = vcpus_claimed + NEW.vcpus,
                     memory_mib_claimed = memory_mib_claimed + NEW.memory_mib,
                     disk_gib_claimed = disk_gib_claimed + NEW.disk_gib
     WHERE id = NEW.node_id
       AND vcpus_claimed + NEW.vcpus <= vcpus_limit
       AND memory_mib_claimed + NEW.memory_mib <= memory_mib_limit
       AND disk_gib_claimed + NEW.disk_gib <= disk_gib_limit;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'node % has no room for this claim', NEW.node_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'claims_within_node_limit', TABLE = 'claims';
    END IF;
  ELSE
    UPDATE nodes SET vcpus_claimed = vcpus_claimed - OLD.vcpus,
                     memory_mib_claimed = memory_mib_claimed - OLD.memory_mib,
                     disk_gib_claimed = disk_gib_claimed - OLD.disk_gib
     WHERE id = OLD.node_id;
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER claims_move_node_sums AFTER INSERT OR DELETE ON claims
  FOR EACH ROW EXECUTE FUNCTION claims_move_node_sums();

-- A claim is taken and given back, never edited: an edit would bypass the sums.
CREATE FUNCTION claims_are_never_edited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a claim is never edited' USING ERRCODE = 'check_violation', CONSTRAINT = 'claims_are_never_edited';
END $$;

CREATE TRIGGER claims_are_never_edited BEFORE UPDATE ON claims
  FOR EACH ROW EXECUTE FUNCTION claims_are_never_edited();
