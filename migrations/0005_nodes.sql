-- *_limit is capacity × the pool's ratio, so that a claim is one comparison on the locked row.
-- *_claimed is kept by the trigger on `claims` alone.
CREATE TABLE nodes (
  id                 uuid PRIMARY KEY,
  name               text NOT NULL UNIQUE,
  pool_id            uuid NOT NULL REFERENCES node_pools,
  schedulable        boolean NOT NULL DEFAULT true,
  labels             jsonb NOT NULL DEFAULT '{}',
  architecture       text NOT NULL,
  accelerator        text NOT NULL CHECK (accelerator IN ('kvm', 'tcg')),
  facts              jsonb NOT NULL DEFAULT '{}',
  vcpus              integer NOT NULL CHECK (vcpus >= 0),
  memory_mib         bigint NOT NULL CHECK (memory_mib >= 0),
  disk_gib           bigint NOT NULL CHECK (disk_gib >= 0),
  vcpus_limit        bigint NOT NULL,
  memory_mib_limit   bigint NOT NULL,
  disk_gib_limit     bigint NOT NULL,
  vcpus_claimed      bigint NOT NULL DEFAULT 0 CHECK (vcpus_claimed >= 0),
  memory_mib_claimed bigint NOT NULL DEFAULT 0 CHECK (memory_mib_claimed >= 0),
  disk_gib_claimed   bigint NOT NULL DEFAULT 0 CHECK (disk_gib_claimed >= 0),
  -- Counts the documents of this node. Taken under the row's lock, so its order is the order of commits.
  assignment_revision bigint NOT NULL DEFAULT 0,
  -- SHA-256 of the public key that the node joined with: the same node may ask again with the same token.
  public_key_sha256  bytea NOT NULL,
  -- Since when its lease is known to have ended; null while it reports.
  down_since         timestamptz,
  revision           bigint NOT NULL DEFAULT 1,
  created_at         timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at         timestamptz NOT NULL DEFAULT aloft_now()
) WITH (fillfactor = 50);

-- Unlogged: renewed every few seconds, and a database that crashed must forget it, so that nobody is declared dead
-- for what the database did not hear.
CREATE UNLOGGED TABLE node_leases (
  node_id    uuid PRIMARY KEY,
  renewed_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
