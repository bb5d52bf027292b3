-- What a guest's memory held at the instant of a snapshot of all its volumes: a file beside the volume that it boots from. It goes with
-- the snapshot, or with that volume.
CREATE TABLE snapshot_memories (
  snapshot_id  uuid PRIMARY KEY REFERENCES snapshots ON DELETE CASCADE,
  volume_id    uuid NOT NULL REFERENCES volumes ON DELETE CASCADE,
  -- Where it is counted, as the volume was; null: that node was removed.
  pool_id      uuid NOT NULL REFERENCES storage_pools,
  node_id      uuid REFERENCES nodes,
  project_id   uuid NOT NULL REFERENCES projects,
  usage_slot   integer NOT NULL,
  -- How much it may take; when it is written, how much it takes.
  promised_gib bigint NOT NULL CHECK (promised_gib > 0),
  -- How long the file is; null: it is not written.
  size_bytes   bigint,
  -- The machine: memory can only be loaded into the same one.
  shape        jsonb NOT NULL
);

CREATE INDEX snapshot_memories_by_volume ON snapshot_memories (volume_id);
CREATE INDEX snapshot_memories_by_node ON snapshot_memories (node_id);
CREATE INDEX snapshot_memories_by_pool ON snapshot_memories (pool_id, node_id);

-- In the order in which volumes do it.
CREATE FUNCTION snapshot_memories_move_sums() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  more_gib bigint := coalesce(NEW.promised_gib, 0) - coalesce(OLD.promised_gib, 0);
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.node_id IS DISTINCT FROM NEW.node_id THEN
    PERFORM aloft_move_place(OLD.pool_id, OLD.node_id, -OLD.promised_gib);
    PERFORM aloft_move_place(NEW.pool_id, NEW.node_id, NEW.promised_gib);
  ELSE
    PERFORM aloft_move_place(coalesce(NEW.pool_id, OLD.pool_id), coalesce(NEW.node_id, OLD.node_id), more_gib);
  END IF;
  IF more_gib <> 0 THEN
    PERFORM aloft_move_usage(
      coalesce(NEW.project_id, OLD.project_id), coalesce(NEW.usage_slot, OLD.usage_slot), 0, 0, 0, more_gib);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER snapshot_memories_move_sums AFTER INSERT OR DELETE OR UPDATE OF promised_gib, node_id ON snapshot_memories
  FOR EACH ROW EXECUTE FUNCTION snapshot_memories_move_sums();

-- What a VM goes on from at its next start, once, as long as its volumes are those of these epochs. The request is different each time:
-- by it the agent tells that the guest has gone on.
ALTER TABLE vms
  ADD memory_snapshot_id uuid,
  ADD memory_request     uuid,
  ADD memory_epochs      jsonb,
  ADD CHECK ((memory_snapshot_id IS NULL) = (memory_request IS NULL) AND (memory_request IS NULL) = (memory_epochs IS NULL));
