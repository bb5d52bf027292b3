-- The outbox. `seq` is taken before commit, so a reader by number alone would skip late committers: readers take rows in
-- the order (xid, seq), and only below the oldest transaction that is still running.
CREATE TABLE events (
  xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
  seq         bigint GENERATED ALWAYS AS IDENTITY,
  at          timestamptz NOT NULL DEFAULT aloft_now(),
  kind        text NOT NULL,
  project_id  uuid,
  resource_id uuid NOT NULL,
  data        jsonb NOT NULL DEFAULT '{}',
  PRIMARY KEY (xid, seq)
);

CREATE INDEX events_by_time ON events (at);
