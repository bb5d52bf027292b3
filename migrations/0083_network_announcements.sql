-- Of which networks a node's agent has to read again what its guests are told: with the node's row in `work`, and gone with it. No
-- foreign keys: networks are locked behind nodes, and what is gone has nobody to be told of it.
CREATE TABLE network_announcements (
  node_id    uuid NOT NULL,
  network_id uuid NOT NULL,
  PRIMARY KEY (node_id, network_id)
);
