-- Disk space is promised to volumes, and no more to VMs: neither their claims nor their rows count any.
DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM vms) THEN
    RAISE EXCEPTION 'this version keeps disks in another way than the one that made these VMs; delete them first';
  END IF;
END $$;

CREATE OR REPLACE FUNCTION claims_move_node_sums() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    UPDATE nodes SET vcpus_claimed = vcpus_claimed + NEW.vcpus,
                     memory_mib_claimed = memory_mib_claimed + NEW.memory_mib
     WHERE id = NEW.node_id
       AND vcpus_claimed + NEW.vcpus <= vcpus_limit
       AND memory_mib_claimed + NEW.memory_mib <= memory_mib_limit;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'node % has no room for this claim', NEW.node_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'claims_within_node_limit', TABLE = 'claims';
    END IF;
  ELSE
    UPDATE nodes SET vcpus_claimed = vcpus_claimed - OLD.vcpus,
                     memory_mib_claimed = memory_mib_claimed - OLD.memory_mib
     WHERE id = OLD.node_id;
  END IF;
  RETURN NULL;
END $$;

ALTER TABLE claims DROP COLUMN disk_gib;

DROP TRIGGER vms_move_project_usage ON vms;
ALTER TABLE vms DROP COLUMN disk_gib, ALTER COLUMN image_id DROP NOT NULL;

-- Moves one row of what a project uses, and its credit; an error if a quota does not allow it.
CREATE FUNCTION aloft_move_usage(
  project uuid, place integer, more_vms bigint, more_vcpus bigint, more_memory bigint, more_disk bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  FOR attempt IN 1..2 LOOP
    UPDATE project_usage
       SET vms = vms + more_vms, vms_credit = vms_credit - greatest(more_vms, 0),
           vcpus = vcpus + more_vcpus, vcpus_credit = vcpus_credit - greatest(more_vcpus, 0),
           memory_mib = memory_mib + more_memory, memory_mib_credit = memory_mib_credit - greatest(more_memory, 0),
           disk_gib = disk_gib + more_disk, disk_gib_credit = disk_gib_credit - greatest(more_disk, 0)
     WHERE project_id = project AND slot = place
       AND (vms_credit >= greatest(more_vms, 0)) IS NOT FALSE AND (vcpus_credit >= greatest(more_vcpus, 0)) IS NOT FALSE
       AND (memory_mib_credit >= greatest(more_memory, 0)) IS NOT FALSE
       AND (disk_gib_credit >= greatest(more_disk, 0)) IS NOT FALSE;
    IF FOUND THEN RETURN; END IF;
    PERFORM aloft_share_quotas(
      project, place, greatest(more_vms, 0), greatest(more_vcpus, 0), greatest(more_memory, 0), greatest(more_disk, 0));
  END LOOP;
  RAISE EXCEPTION 'project % has no usage to move', project USING ERRCODE = 'check_violation';
END $$;

CREATE OR REPLACE FUNCTION vms_move_project_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM aloft_move_usage(
    coalesce(NEW.project_id, OLD.project_id), aloft_usage_slot(coalesce(NEW.id, OLD.id)),
    (TG_OP = 'INSERT')::integer - (TG_OP = 'DELETE')::integer, coalesce(NEW.vcpus, 0) - coalesce(OLD.vcpus, 0),
    coalesce(NEW.memory_mib, 0) - coalesce(OLD.memory_mib, 0), 0);
  RETURN NULL;
END $$;

CREATE TRIGGER vms_move_project_usage AFTER INSERT OR DELETE OR UPDATE OF vcpus, memory_mib ON vms
  FOR EACH ROW EXECUTE FUNCTION vms_move_project_usage();

-- What a place has promised moves with the volumes, whoever writes them; more than its limit is refused, under the row's lock.
CREATE FUNCTION aloft_move_place(pool uuid, node uuid, more_gib bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF node IS NULL OR more_gib = 0 THEN RETURN; END IF;
  IF (SELECT name = 'local' FROM storage_pools WHERE id = pool) THEN
    UPDATE nodes SET disk_gib_claimed = disk_gib_claimed + more_gib
     WHERE id = node AND (more_gib < 0 OR disk_gib_claimed + more_gib <= disk_gib_limit);
  ELSE
    UPDATE storage_places SET claimed_gib = claimed_gib + more_gib
     WHERE pool_id = pool AND node_id = node AND (more_gib < 0 OR claimed_gib + more_gib <= limit_gib);
  END IF;
  IF NOT FOUND AND more_gib > 0 THEN
    RAISE EXCEPTION 'node % has no room for this volume', node
      USING ERRCODE = 'check_violation', CONSTRAINT = 'volumes_within_place', TABLE = 'volumes';
  END IF;
END $$;

-- The place first: locks of projects' usage are taken last, and among those that of row 0 first.
CREATE FUNCTION volumes_move_sums() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  is_move boolean := TG_OP = 'UPDATE' AND (OLD.pool_id, OLD.node_id) IS DISTINCT FROM (NEW.pool_id, NEW.node_id);
  more_gib bigint := coalesce(NEW.size_gib, 0) - coalesce(OLD.size_gib, 0);
BEGIN
  IF is_move THEN
    PERFORM aloft_move_place(OLD.pool_id, OLD.node_id, -OLD.size_gib);
    PERFORM aloft_move_place(NEW.pool_id, NEW.node_id, NEW.size_gib);
  ELSE
    PERFORM aloft_move_place(coalesce(NEW.pool_id, OLD.pool_id), coalesce(NEW.node_id, OLD.node_id), more_gib);
  END IF;
  -- Those that come with VMs are limited as VMs are: counting them would make creates queue.
  IF TG_OP = 'INSERT' AND NEW.vm_id IS NULL THEN
    PERFORM aloft_hold_usage(NEW.project_id);
    PERFORM aloft_within_quota(
      NEW.project_id, 'volumes', (SELECT count(*) - 1 FROM volumes WHERE project_id = NEW.project_id), 1);
  END IF;
  IF more_gib <> 0 THEN
    PERFORM aloft_move_usage(
      coalesce(NEW.project_id, OLD.project_id), coalesce(NEW.usage_slot, OLD.usage_slot), 0, 0, 0, more_gib);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER volumes_move_sums AFTER INSERT OR DELETE OR UPDATE OF size_gib, pool_id, node_id ON volumes
  FOR EACH ROW EXECUTE FUNCTION volumes_move_sums();
