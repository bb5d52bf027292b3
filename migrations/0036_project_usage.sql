-- What a project's VMs take, in 16 rows, so that creates of one project do not queue behind one: the last byte of a VM's id
-- says which row counts it.
--
-- A row's credit is what may be taken there at once; null: there is no limit. All credits together are never more than what
-- the limit leaves. What is given back comes to no credit: when one does not suffice, what is left is shared out anew,
-- under the locks of all rows.
CREATE TABLE project_usage (
  project_id        uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
  slot              integer NOT NULL,
  vms               bigint NOT NULL DEFAULT 0 CHECK (vms >= 0),
  vcpus             bigint NOT NULL DEFAULT 0 CHECK (vcpus >= 0),
  memory_mib        bigint NOT NULL DEFAULT 0 CHECK (memory_mib >= 0),
  disk_gib          bigint NOT NULL DEFAULT 0 CHECK (disk_gib >= 0),
  vms_credit        bigint DEFAULT 0 CHECK (vms_credit >= 0),
  vcpus_credit      bigint DEFAULT 0 CHECK (vcpus_credit >= 0),
  memory_mib_credit bigint DEFAULT 0 CHECK (memory_mib_credit >= 0),
  disk_gib_credit   bigint DEFAULT 0 CHECK (disk_gib_credit >= 0),
  PRIMARY KEY (project_id, slot)
) WITH (fillfactor = 50);

CREATE FUNCTION aloft_usage_slot(vm uuid) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT get_byte(uuid_send(vm), 15) % 16
$$;

CREATE FUNCTION projects_get_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO project_usage (project_id, slot) SELECT NEW.id, generate_series(0, 15);
  RETURN NULL;
END $$;

CREATE TRIGGER projects_get_usage AFTER INSERT ON projects FOR EACH ROW EXECUTE FUNCTION projects_get_usage();

INSERT INTO project_usage (project_id, slot, vms, vcpus, memory_mib, disk_gib)
SELECT p.id, s, count(v.id), coalesce(sum(v.vcpus), 0), coalesce(sum(v.memory_mib), 0), coalesce(sum(v.disk_gib), 0)
  FROM projects p CROSS JOIN generate_series(0, 15) s
       LEFT JOIN vms v ON v.project_id = p.id AND aloft_usage_slot(v.id) = s
 GROUP BY p.id, s;
