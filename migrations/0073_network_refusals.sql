-- What OVN does not take of the cloud's networks, and why: mostly because something of other people is in the way. Written and
-- removed by the replica that writes to OVN, which tries again until it is taken. One row for each object.
CREATE TABLE network_refusals (
  kind     text NOT NULL,
  id       uuid NOT NULL,
  reason   text NOT NULL,
  since    timestamptz NOT NULL DEFAULT aloft_now(),
  tries    integer NOT NULL DEFAULT 1,
  tried_at timestamptz NOT NULL DEFAULT aloft_now(),
  PRIMARY KEY (kind, id)
);

CREATE INDEX network_refusals_due ON network_refusals (tried_at);
