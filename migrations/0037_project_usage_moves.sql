-- A slot's part of what the limit leaves: the same for all, and what is asked for besides in the slot that asks.
CREATE FUNCTION aloft_credit(most bigint, used bigint, asked bigint, asks boolean) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN most IS NULL THEN NULL
              WHEN asks THEN asked + greatest(most - used - asked, 0) / 16 + greatest(most - used - asked, 0) % 16
              ELSE greatest(most - used - asked, 0) / 16 END
$$;

-- Shares out anew what the project's limits leave, so that `place` has what is asked for; an error if that is too much.
CREATE FUNCTION aloft_share_quotas(
  project uuid, place integer, asked_vms bigint, asked_vcpus bigint, asked_memory bigint, asked_disk bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  used record;
  most_vms bigint; most_vcpus bigint; most_memory bigint; most_disk bigint;
BEGIN
  -- The limits are read under the locks: whoever changes them takes all credit away, under the locks too.
  PERFORM 1 FROM project_usage WHERE project_id = project ORDER BY slot FOR NO KEY UPDATE;
  SELECT sum(vms) AS vms, sum(vcpus) AS vcpus, sum(memory_mib) AS memory_mib, sum(disk_gib) AS disk_gib
    INTO used FROM project_usage WHERE project_id = project;
  most_vms := aloft_within_quota(project, 'vms', used.vms::bigint, asked_vms);
  most_vcpus := aloft_within_quota(project, 'vcpus', used.vcpus::bigint, asked_vcpus);
  most_memory := aloft_within_quota(project, 'memory_mib', used.memory_mib::bigint, asked_memory);
  most_disk := aloft_within_quota(project, 'disk_gib', used.disk_gib::bigint, asked_disk);
  UPDATE project_usage
     SET vms_credit = aloft_credit(most_vms, used.vms::bigint, asked_vms, slot = place),
         vcpus_credit = aloft_credit(most_vcpus, used.vcpus::bigint, asked_vcpus, slot = place),
         memory_mib_credit = aloft_credit(most_memory, used.memory_mib::bigint, asked_memory, slot = place),
         disk_gib_credit = aloft_credit(most_disk, used.disk_gib::bigint, asked_disk, slot = place)
   WHERE project_id = project;
END $$;

-- Usage moves with the VMs, whoever writes them. A VM that is being deleted counts until it is gone.
CREATE FUNCTION vms_move_project_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  project uuid := coalesce(NEW.project_id, OLD.project_id);
  place integer := aloft_usage_slot(coalesce(NEW.id, OLD.id));
  more_vms bigint := (TG_OP = 'INSERT')::integer - (TG_OP = 'DELETE')::integer;
  more_vcpus bigint := coalesce(NEW.vcpus, 0) - coalesce(OLD.vcpus, 0);
  more_memory bigint := coalesce(NEW.memory_mib, 0) - coalesce(OLD.memory_mib, 0);
  more_disk bigint := coalesce(NEW.disk_gib, 0) - coalesce(OLD.disk_gib, 0);
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
    IF FOUND THEN RETURN NULL; END IF;
    PERFORM aloft_share_quotas(
      project, place, greatest(more_vms, 0), greatest(more_vcpus, 0), greatest(more_memory, 0), greatest(more_disk, 0));
  END LOOP;
  RAISE EXCEPTION 'project % has no usage to move', project USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER vms_move_project_usage AFTER INSERT OR DELETE OR UPDATE OF vcpus, memory_mib, disk_gib ON vms
  FOR EACH ROW EXECUTE FUNCTION vms_move_project_usage();
