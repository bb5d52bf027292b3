CREATE TABLE node_pools (
  id                uuid PRIMARY KEY,
  name              text NOT NULL UNIQUE,
  strategy          text NOT NULL DEFAULT 'spread' CHECK (strategy IN ('spread', 'pack')),
  cpu_overcommit    float8 NOT NULL DEFAULT 4 CHECK (cpu_overcommit > 0),
  memory_overcommit float8 NOT NULL DEFAULT 1 CHECK (memory_overcommit > 0),
  disk_overcommit   float8 NOT NULL DEFAULT 1 CHECK (disk_overcommit > 0),
  revision          bigint NOT NULL DEFAULT 1,
  created_at        timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at        timestamptz NOT NULL DEFAULT aloft_now()
);

INSERT INTO node_pools (id, name) VALUES ('01900000-0000-7000-8000-000000000002', 'default');
