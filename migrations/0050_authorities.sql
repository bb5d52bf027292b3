-- Aloft's certificate authorities: all replicas sign by the same. The key is sealed with the operator's key, and gone when
-- the authority is retired.
CREATE TABLE authorities (
  id          uuid PRIMARY KEY,
  -- SHA-256 of the certificate in DER, in hexadecimal.
  fingerprint text NOT NULL UNIQUE,
  -- PEM.
  certificate text NOT NULL,
  sealed_key  bytea,
  state       text NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'retired')),
  not_after   timestamptz NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT aloft_now(),
  state_since timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((state = 'retired') = (sealed_key IS NULL))
);
CREATE UNIQUE INDEX authorities_one_in_each_state ON authorities (state) WHERE state <> 'retired';
