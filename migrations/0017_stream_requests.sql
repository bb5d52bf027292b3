-- A client waits on one replica for bytes that only a node has: its agent is asked to bring them there.
-- Unlogged: the waiting client does not survive a crash either.
CREATE UNLOGGED TABLE stream_requests (
  id          uuid PRIMARY KEY,
  node_id     uuid NOT NULL,
  vm_id       uuid NOT NULL,
  kind        text NOT NULL CHECK (kind IN ('serial_log')),
  byte_offset bigint NOT NULL,
  follow      boolean NOT NULL,
  replica_url text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE INDEX stream_requests_by_node ON stream_requests (node_id);
