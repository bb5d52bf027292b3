CREATE TABLE node_tokens (
  id          uuid PRIMARY KEY,
  secret_hash bytea NOT NULL UNIQUE,
  description text NOT NULL,
  pool_id     uuid NOT NULL REFERENCES node_pools,
  labels      jsonb NOT NULL DEFAULT '{}',
  expires_at  timestamptz NOT NULL,
  node_id     uuid,
  revision    bigint NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT aloft_now()
);
