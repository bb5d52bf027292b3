-- Images that are made of a volume. The volume's document tells its agent to; the image's open operation is what is told about it.
-- A row that has ended stays until the volume's document has changed, whatever became of the image meanwhile.
CREATE TABLE image_captures (
  image_id    uuid PRIMARY KEY,
  volume_id   uuid NOT NULL,
  -- What is sent: a snapshot that users see, or one that only this row knows.
  snapshot_id uuid NOT NULL,
  is_own      boolean NOT NULL,
  -- The agent has taken the row's own one.
  taken_at    timestamptz,
  -- Attempts in a row that brought nothing.
  failures    integer NOT NULL DEFAULT 0,
  ended_at    timestamptz,
  created_at  timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE INDEX image_captures_by_volume ON image_captures (volume_id);
CREATE INDEX image_captures_by_snapshot ON image_captures (snapshot_id);
