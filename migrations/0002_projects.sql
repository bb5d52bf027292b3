CREATE TABLE projects (
  id         uuid PRIMARY KEY,
  name       text NOT NULL UNIQUE,
  revision   bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT aloft_now()
);

INSERT INTO projects (id, name) VALUES ('01900000-0000-7000-8000-000000000001', 'default');
