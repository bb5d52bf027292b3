-- How a person's password is known: scrypt (RFC 7914) with the parameters that it was hashed with, which may grow.
-- A table of its own, so that what reads users does not read it. A service has none, whoever writes here.
ALTER TABLE users ADD CONSTRAINT users_id_kind UNIQUE (id, kind);

CREATE TABLE passwords (
  user_id     uuid PRIMARY KEY,
  kind        text NOT NULL DEFAULT 'person' CHECK (kind = 'person'),
  cost        integer NOT NULL CHECK (cost BETWEEN 2 AND 1048576),
  block_size  integer NOT NULL CHECK (block_size BETWEEN 1 AND 32),
  parallelism integer NOT NULL CHECK (parallelism BETWEEN 1 AND 16),
  salt        bytea NOT NULL CHECK (length(salt) = 16),
  hash        bytea NOT NULL CHECK (length(hash) = 32),
  changed_at  timestamptz NOT NULL DEFAULT aloft_now(),
  FOREIGN KEY (user_id, kind) REFERENCES users (id, kind) ON DELETE CASCADE
);
