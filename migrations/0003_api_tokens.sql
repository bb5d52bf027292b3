-- A token is stored as the SHA-256 of its secret: it is 256 random bits, so a slow hash would add nothing.
CREATE TABLE api_tokens (
  id          uuid PRIMARY KEY,
  secret_hash bytea NOT NULL UNIQUE,
  description text NOT NULL,
  role        text NOT NULL CHECK (role IN ('admin')),
  expires_at  timestamptz,
  created_at  timestamptz NOT NULL DEFAULT aloft_now()
);
