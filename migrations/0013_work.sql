-- The one durable queue: at most one row for each resource that somebody must look at, and when.
CREATE TABLE work (
  kind        text NOT NULL,
  id          uuid NOT NULL,
  due_at      timestamptz NOT NULL,
  -- Counts the wake-ups: a run that began before the newest one must not put the row to rest.
  wakes       bigint NOT NULL DEFAULT 0,
  lease_until timestamptz,
  attempts    integer NOT NULL DEFAULT 0,
  last_error  text,
  PRIMARY KEY (kind, id)
) WITH (fillfactor = 70);

CREATE INDEX work_due ON work (due_at);
