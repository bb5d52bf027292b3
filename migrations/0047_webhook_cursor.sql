-- How far the events have been turned into deliveries, in their total order (xid, seq).
CREATE TABLE webhook_cursor (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  xid      xid8 NOT NULL,
  seq      bigint NOT NULL
);

INSERT INTO webhook_cursor (xid, seq) VALUES ('0', 0);
