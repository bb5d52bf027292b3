-- Who may hold tokens: people, and programs that act for themselves.
CREATE TABLE users (
  id         uuid PRIMARY KEY,
  kind       text NOT NULL CHECK (kind IN ('person', 'service')),
  name       text NOT NULL UNIQUE,
  -- What the user may do in the whole cloud; in projects it may what its memberships say.
  cloud_role text CHECK (cloud_role IN ('auditor', 'operator', 'admin')),
  disabled   boolean NOT NULL DEFAULT false,
  revision   bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at timestamptz NOT NULL DEFAULT aloft_now()
);

-- Holds the tokens that `aloftd token create` makes.
INSERT INTO users (id, kind, name, cloud_role)
VALUES ('01900000-0000-7000-8000-000000000003', 'service', 'root', 'admin');
