-- The one durable queue: at most one row for each resource that somebody must look at, and when.
CREATE TABLE work (
  kind        text NOT NULL,
  id          uuid NOT NULL,
  due_at      timestamptz NOT NULL,
  lease_until timestamptz,
  attempts    integer NOT NULL DEFAULT 0,
  last_error  text,
  PRIMARY KEY (kind, id)
) WITH (fillfactor = 70);

CREATE INDEX work_due ON work (due_at);
