-- What one or more volumes held at one instant. It goes with the last of its volumes.
CREATE TABLE snapshots (
  id          uuid PRIMARY KEY,
  project_id  uuid NOT NULL REFERENCES projects,
  name        text NOT NULL,
  labels      jsonb NOT NULL DEFAULT '{}',
  -- All volumes of which it is, as long as there is that VM; null: it is of one volume.
  vm_id       uuid REFERENCES vms ON DELETE SET NULL,
  -- The guest is to bring its file systems to rest first, if it can.
  quiesce     boolean NOT NULL DEFAULT true,
  deleted_at  timestamptz,
  revision    bigint NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at  timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE UNIQUE INDEX snapshots_name ON snapshots (project_id, name) WHERE deleted_at IS NULL;
CREATE INDEX snapshots_by_project ON snapshots (project_id, id);
CREATE INDEX snapshots_by_vm ON snapshots (vm_id);

CREATE TRIGGER snapshots_within_quota AFTER INSERT ON snapshots
  FOR EACH ROW EXECUTE FUNCTION rows_within_quota('snapshots');

-- Of which volumes it is. The row goes when the volume's agent has reported that it does not have the snapshot any more.
CREATE TABLE volume_snapshots (
  snapshot_id uuid NOT NULL REFERENCES snapshots ON DELETE CASCADE,
  volume_id   uuid NOT NULL REFERENCES volumes ON DELETE CASCADE,
  size_gib    bigint NOT NULL,
  -- The snapshot that the volume's content came from when this one was taken: snapshots of a volume are a tree.
  parent_id   uuid REFERENCES snapshots ON DELETE SET NULL,
  taken_at    timestamptz,
  quiesced    boolean,
  PRIMARY KEY (snapshot_id, volume_id)
);

CREATE INDEX volume_snapshots_by_volume ON volume_snapshots (volume_id);
CREATE INDEX volume_snapshots_by_parent ON volume_snapshots (parent_id);

-- What a volume is made from, until it is made, and what it is put back to, until it was; the epoch counts how often. `head_id` is the
-- snapshot that its content comes from, the last one taken or put back to; it may be deleted.
ALTER TABLE volumes
  ADD source_snapshot_id uuid REFERENCES snapshots,
  -- Which volume of that snapshot; it may be deleted meanwhile.
  ADD source_volume_id uuid,
  ADD epoch bigint NOT NULL DEFAULT 0,
  ADD base_snapshot_id uuid REFERENCES snapshots,
  ADD head_id uuid,
  ADD CHECK ((source_snapshot_id IS NULL) = (source_volume_id IS NULL));

ALTER TABLE volume_observations
  ADD epoch bigint NOT NULL DEFAULT 0,
  -- The snapshots that the node has.
  ADD snapshots uuid[] NOT NULL DEFAULT '{}';
