-- Backups of volumes. A backup outlives its volume. What it consists of is in the image store: `backups/<project>/<backup>/manifest-<sha256>`, and
-- the chunks that it has sent beside it. One that was deleted stays as a row as long as later ones name chunks of it.
CREATE TABLE backups (
  id              uuid PRIMARY KEY,
  project_id      uuid NOT NULL REFERENCES projects,
  name            text NOT NULL,
  labels          jsonb NOT NULL DEFAULT '{}',
  -- The volume, which may be gone, and what it was called.
  volume_id       uuid NOT NULL,
  volume_name     text NOT NULL,
  size_gib        bigint NOT NULL,
  chunk_bytes     bigint NOT NULL,
  state           text NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'available', 'damaged', 'failed')),
  -- A snapshot that only this row knows. The volume's node keeps it until there is a newer backup, which reads only what differs from it.
  snapshot_id     uuid NOT NULL,
  keeps_snapshot  boolean NOT NULL DEFAULT true,
  taken_at        timestamptz,
  quiesced        boolean,
  -- The backup whose chunks this one may name, and whether only what differs from that one's snapshot is read.
  earlier_id      uuid REFERENCES backups,
  is_incremental  boolean NOT NULL DEFAULT false,
  -- How it was read in the end.
  reading         text CHECK (reading IN ('full', 'incremental')),
  read_bytes      bigint,
  chunks          bigint,
  manifest_sha256 text,
  -- What is in the store of this backup alone.
  stored_bytes    bigint NOT NULL DEFAULT 0,
  damaged_bytes   bigint NOT NULL DEFAULT 0,
  verified_at     timestamptz,
  failure         text,
  -- Attempts in a row that brought nothing.
  failures        integer NOT NULL DEFAULT 0,
  deleted_at      timestamptz,
  revision        bigint NOT NULL DEFAULT 1,
  created_at      timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at      timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((state IN ('available', 'damaged')) = (manifest_sha256 IS NOT NULL) OR deleted_at IS NOT NULL)
);

CREATE UNIQUE INDEX backups_name ON backups (project_id, name) WHERE deleted_at IS NULL;
CREATE INDEX backups_by_project ON backups (project_id, id);
CREATE INDEX backups_by_volume ON backups (volume_id, id);
CREATE INDEX backups_by_earlier ON backups (earlier_id);
-- One at a time of a volume.
CREATE UNIQUE INDEX backups_creating ON backups (volume_id) WHERE state = 'creating' AND deleted_at IS NULL;

-- The chunks that a backup has sent. A row is there before its object; the object is whole when `stored`.
CREATE TABLE backup_chunks (
  backup_id uuid NOT NULL REFERENCES backups,
  sha256    bytea NOT NULL,
  bytes     integer NOT NULL,
  stored    boolean NOT NULL DEFAULT false,
  PRIMARY KEY (backup_id, sha256)
);

-- What a volume is made from, or what its newest epoch begins with, until that is done. `kept_epoch`: restoring into this epoch was given
-- up, it begins with whatever is there.
ALTER TABLE volumes
  ADD source_backup_id uuid REFERENCES backups,
  ADD base_backup_id uuid REFERENCES backups,
  ADD kept_epoch bigint;

CREATE INDEX volumes_by_source_backup ON volumes (source_backup_id) WHERE source_backup_id IS NOT NULL;
CREATE INDEX volumes_by_base_backup ON volumes (base_backup_id) WHERE base_backup_id IS NOT NULL;

-- What was deleted counts as long as its chunks are needed. Like images_within_quota.
CREATE FUNCTION backups_within_quota() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  more_bytes bigint := NEW.stored_bytes - CASE WHEN TG_OP = 'INSERT' THEN 0 ELSE OLD.stored_bytes END;
  used record;
BEGIN
  PERFORM aloft_hold_usage(NEW.project_id);
  SELECT count(*) FILTER (WHERE deleted_at IS NULL) AS backups, coalesce(sum(stored_bytes), 0) AS bytes INTO used
    FROM backups WHERE project_id = NEW.project_id;
  IF TG_OP = 'INSERT' THEN PERFORM aloft_within_quota(NEW.project_id, 'backups', used.backups - 1, 1); END IF;
  IF more_bytes > 0 THEN
    PERFORM aloft_within_quota(NEW.project_id, 'backup_bytes', (used.bytes - more_bytes)::bigint, more_bytes);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER backups_within_quota AFTER INSERT OR UPDATE OF stored_bytes ON backups
  FOR EACH ROW EXECUTE FUNCTION backups_within_quota();
