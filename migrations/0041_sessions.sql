-- A browser that somebody has logged in with. The secret is 256 random bits, stored as its SHA-256.
CREATE TABLE sessions (
  id           uuid PRIMARY KEY,
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  secret_hash  bytea NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
  peer         text NOT NULL,
  -- Who said who it is, and what that one said of their roles; NULL for a password.
  issuer       text,
  claim_values text[] NOT NULL DEFAULT '{}',
  created_at   timestamptz NOT NULL DEFAULT aloft_now(),
  last_used_at timestamptz NOT NULL DEFAULT aloft_now(),
  expires_at   timestamptz NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_use ON sessions (last_used_at);

-- From where somebody has logged in lately: whoever tries passwords from elsewhere does not keep them out.
CREATE TABLE login_sites (
  user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  site    text NOT NULL,
  at      timestamptz NOT NULL DEFAULT aloft_now(),
  PRIMARY KEY (user_id, site)
);

CREATE INDEX login_sites_by_time ON login_sites (at);

-- In which session something was done.
ALTER TABLE audit ADD session_id uuid;
