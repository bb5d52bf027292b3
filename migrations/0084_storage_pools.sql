-- Where volumes are: qcow2 files in a directory of each node that has the pool, or images of one Ceph pool that nodes share. Every
-- node has the pool `local` in its agent's data directory. A pool's name never changes: agents know it by that.
CREATE TABLE storage_pools (
  id               uuid PRIMARY KEY,
  name             text NOT NULL CONSTRAINT storage_pools_name UNIQUE,
  labels           jsonb NOT NULL DEFAULT '{}',
  kind             text NOT NULL CHECK (kind IN ('dir', 'rbd')),
  -- GiB promised for each GiB there is. For `local` the ratio of the node's node pool holds.
  overcommit       float8 NOT NULL DEFAULT 1 CHECK (overcommit > 0),
  -- Per cent of real use from which on somebody is told.
  warning_percent  integer NOT NULL DEFAULT 80 CHECK (warning_percent BETWEEN 1 AND 100),
  critical_percent integer NOT NULL DEFAULT 95 CHECK (critical_percent BETWEEN warning_percent AND 100),
  revision         bigint NOT NULL DEFAULT 1,
  created_at       timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at       timestamptz NOT NULL DEFAULT aloft_now()
);

INSERT INTO storage_pools (id, name, kind) VALUES ('01900000-0000-7000-8000-000000000003', 'local', 'dir');

-- A part of a pool that fills up by itself, as the node that has it sees it.
CREATE TABLE storage_places (
  pool_id     uuid NOT NULL REFERENCES storage_pools,
  node_id     uuid NOT NULL REFERENCES nodes ON DELETE CASCADE,
  total_bytes bigint NOT NULL,
  free_bytes  bigint NOT NULL,
  used_bytes  bigint NOT NULL,
  -- Why nothing can be done there.
  problem     text,
  -- What was told last of how full it is.
  level       text NOT NULL DEFAULT 'ok' CHECK (level IN ('ok', 'warning', 'critical')),
  -- What may be promised and what is; null in `local`, for which the node's own row counts.
  limit_gib   bigint,
  claimed_gib bigint CHECK (claimed_gib >= 0),
  reported_at timestamptz NOT NULL DEFAULT aloft_now(),
  PRIMARY KEY (pool_id, node_id)
);

CREATE INDEX storage_places_by_node ON storage_places (node_id);
