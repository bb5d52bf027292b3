-- A volume that is being moved to another pool of its node. Both pools have promised it meanwhile. Its agent says in which one it is as soon
-- as nothing of it is in the other; until then it counts as being in `pool_id`.
ALTER TABLE volumes
  ADD moving_to uuid REFERENCES storage_pools,
  -- Why the move was given up: what there is of the copy is being cleared away.
  ADD move_failure text,
  ADD move_failure_detail text,
  ADD CONSTRAINT volumes_move_leads_elsewhere CHECK (moving_to <> pool_id),
  ADD CONSTRAINT volumes_move_fails CHECK (moving_to IS NOT NULL OR move_failure IS NULL);

CREATE INDEX volumes_by_moving_to ON volumes (moving_to) WHERE moving_to IS NOT NULL;

-- The pool that it is in, of one that was to be moved; null while it is moved, and of others.
ALTER TABLE volume_observations ADD pool text;

CREATE OR REPLACE FUNCTION volumes_move_sums() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  -- In a pool that nodes share nothing moves when another node has the document.
  is_move boolean := TG_OP = 'UPDATE' AND (OLD.pool_id <> NEW.pool_id
    OR OLD.node_id IS DISTINCT FROM NEW.node_id
       AND EXISTS (SELECT 1 FROM storage_pools WHERE id = NEW.pool_id AND kind <> 'rbd'));
  more_gib bigint := coalesce(NEW.size_gib, 0) - coalesce(OLD.size_gib, 0);
  place record;
BEGIN
  IF coalesce(OLD.moving_to, NEW.moving_to) IS NOT NULL THEN
    -- What is promised in several pools, before and after; a move that has ended gives up one of them and takes nothing.
    FOR place IN
      SELECT p.pool, p.node, sum(p.gib)::bigint AS gib
        FROM (VALUES (OLD.pool_id, OLD.node_id, -OLD.size_gib), (OLD.moving_to, OLD.node_id, -OLD.size_gib),
                     (NEW.pool_id, NEW.node_id, NEW.size_gib), (NEW.moving_to, NEW.node_id, NEW.size_gib)) v (pool, own, gib)
        JOIN storage_pools s ON s.id = v.pool
        CROSS JOIN LATERAL (
          SELECT v.pool, CASE WHEN s.kind <> 'rbd' THEN v.own END AS node, v.gib) p
       GROUP BY p.pool, p.node HAVING sum(p.gib) <> 0 ORDER BY p.pool, p.node
    LOOP
      PERFORM aloft_move_place(place.pool, place.node, place.gib);
    END LOOP;
  ELSIF is_move THEN
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

DROP TRIGGER volumes_move_sums ON volumes;
CREATE TRIGGER volumes_move_sums AFTER INSERT OR DELETE OR UPDATE OF size_gib, pool_id, node_id, moving_to ON volumes
  FOR EACH ROW EXECUTE FUNCTION volumes_move_sums();
