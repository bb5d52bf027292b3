-- The transaction below which all events can be seen: everything below it that could write one has ended.
--
-- pg_snapshot_xmin alone would do, but it counts the transactions of every database of the server, so that somebody else's
-- long one would hold back our events. A transaction stays in its database for good: those that are known to be in another
-- one are passed over. That is looked up only where an event waits for it.
CREATE FUNCTION aloft_events_settled() RETURNS xid8 LANGUAGE plpgsql STABLE AS $$
DECLARE
  seen pg_snapshot := pg_current_snapshot();
BEGIN
  IF NOT EXISTS (SELECT 1 FROM events WHERE xid >= pg_snapshot_xmin(seen)) THEN
    RETURN pg_snapshot_xmin(seen);
  END IF;
  RETURN coalesce(
    (SELECT running FROM pg_snapshot_xip(seen) AS running
      WHERE running::xid <> ALL (ARRAY(
        SELECT l.transactionid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
           AND a.datid <> (SELECT oid FROM pg_database WHERE datname = current_database())))
      ORDER BY running LIMIT 1),
    pg_snapshot_xmax(seen));
END $$;

-- The newest event that was removed because of its age: a reader that stands before it has missed something.
CREATE TABLE events_removed (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  xid      xid8 NOT NULL,
  seq      bigint NOT NULL
);

INSERT INTO events_removed (xid, seq) VALUES ('0', 0);
