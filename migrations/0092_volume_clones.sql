-- A snapshot that nobody asked for by name: a volume is being cloned through it, and it goes when the clone is made. It has no name.
ALTER TABLE snapshots ADD hidden boolean NOT NULL DEFAULT false;

DROP INDEX snapshots_name;
CREATE UNIQUE INDEX snapshots_name ON snapshots (project_id, name) WHERE deleted_at IS NULL AND NOT hidden;
