-- A pool of kind rbd is one for all nodes that reach it: how full it is, and what it has promised, is counted once, with the pool. Its
-- places say which nodes reach it and what each of them sees.
ALTER TABLE storage_pools
  ADD total_bytes bigint,
  ADD free_bytes  bigint,
  ADD used_bytes  bigint,
  -- What was told last of how full it is.
  ADD level       text NOT NULL DEFAULT 'ok' CHECK (level IN ('ok', 'warning', 'critical')),
  -- What may be promised; null: no node has told yet how large it is.
  ADD limit_gib   bigint,
  ADD claimed_gib bigint NOT NULL DEFAULT 0 CHECK (claimed_gib >= 0);

ALTER TABLE volumes
  -- Whose agent is to have its document, as soon as that of `node_id` has let go of it. Only in pools that nodes share.
  ADD next_node_id uuid REFERENCES nodes,
  -- A node that had it was given up without that: whoever has it open is cut off before it is used.
  ADD fence boolean NOT NULL DEFAULT false,
  ADD CHECK (next_node_id <> node_id);

CREATE INDEX volumes_by_next_node ON volumes (next_node_id) WHERE next_node_id IS NOT NULL;
CREATE INDEX volumes_by_pool ON volumes (pool_id, node_id);

ALTER TABLE volume_observations
  DROP CONSTRAINT volume_observations_state_check,
  ADD CONSTRAINT volume_observations_state_check CHECK (state IN ('absent', 'preparing', 'ready', 'released'));

CREATE OR REPLACE FUNCTION aloft_move_place(pool uuid, node uuid, more_gib bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  place record;
BEGIN
  IF more_gib = 0 THEN RETURN; END IF;
  SELECT name, kind INTO place FROM storage_pools WHERE id = pool;
  IF place.kind = 'rbd' THEN
    UPDATE storage_pools SET claimed_gib = claimed_gib + more_gib
     WHERE id = pool AND (more_gib < 0 OR claimed_gib + more_gib <= limit_gib);
    IF NOT FOUND THEN
      RAISE EXCEPTION 'pool % has no room for this volume', place.name
        USING ERRCODE = 'check_violation', CONSTRAINT = 'volumes_within_pool', TABLE = 'volumes';
    END IF;
    RETURN;
  END IF;
  IF node IS NULL THEN RETURN; END IF;
  IF place.name = 'local' THEN
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

CREATE OR REPLACE FUNCTION volumes_move_sums() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  -- In a pool that nodes share nothing moves when another node has the document.
  is_move boolean := TG_OP = 'UPDATE' AND (OLD.pool_id <> NEW.pool_id
    OR OLD.node_id IS DISTINCT FROM NEW.node_id
       AND EXISTS (SELECT 1 FROM storage_pools WHERE id = NEW.pool_id AND kind <> 'rbd'));
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
