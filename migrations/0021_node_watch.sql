-- When some replica looked at the leases last. If that is long ago, nobody could renew them: nobody is judged by them.
CREATE TABLE node_watch (
  only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  looked_at timestamptz NOT NULL DEFAULT aloft_now()
) WITH (fillfactor = 50);

INSERT INTO node_watch DEFAULT VALUES;
