-- When a volume is backed up by itself. It goes with the volume; what it has made stays.
CREATE TABLE backup_schedules (
  volume_id      uuid PRIMARY KEY REFERENCES volumes ON DELETE CASCADE,
  interval_hours integer NOT NULL CHECK (interval_hours > 0),
  -- How many of those that it made are kept.
  keep           integer NOT NULL CHECK (keep > 0),
  next_at        timestamptz NOT NULL,
  -- Why the last round brought nothing; null: it did.
  problem        text,
  actor          text NOT NULL,
  request_id     text NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at     timestamptz NOT NULL DEFAULT aloft_now()
);

-- It was made by the schedule of its volume, which deletes it again.
ALTER TABLE backups ADD scheduled boolean NOT NULL DEFAULT false;
