-- Who may talk to whom. Every project has a group of its own, named default, for NICs that name none.
CREATE TABLE security_groups (
  id         uuid PRIMARY KEY,
  project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
  name       text NOT NULL,
  labels     jsonb NOT NULL DEFAULT '{}',
  is_default boolean NOT NULL DEFAULT false,
  revision   bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE UNIQUE INDEX security_groups_name ON security_groups (project_id, name);
CREATE UNIQUE INDEX security_groups_default ON security_groups (project_id) WHERE is_default;

-- What a group lets through; all else is dropped. Answers come back by themselves.
CREATE TABLE security_group_rules (
  id              uuid PRIMARY KEY,
  group_id        uuid NOT NULL REFERENCES security_groups ON DELETE CASCADE,
  direction       text NOT NULL CHECK (direction IN ('ingress', 'egress')),
  ip_version      integer NOT NULL CHECK (ip_version IN (4, 6)),
  protocol        text NOT NULL CHECK (protocol IN ('any', 'tcp', 'udp', 'icmp')),
  first_port      integer CHECK (first_port BETWEEN 1 AND 65535),
  last_port       integer CHECK (last_port BETWEEN first_port AND 65535),
  icmp_type       integer CHECK (icmp_type BETWEEN 0 AND 255),
  icmp_code       integer CHECK (icmp_code BETWEEN 0 AND 255),
  remote_cidr     cidr CHECK (family(remote_cidr) = ip_version),
  remote_group_id uuid REFERENCES security_groups,
  created_at      timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((first_port IS NULL) = (last_port IS NULL)),
  CHECK (first_port IS NULL OR protocol IN ('tcp', 'udp')),
  CHECK (icmp_type IS NULL OR protocol = 'icmp'),
  CHECK (icmp_code IS NULL OR icmp_type IS NOT NULL),
  CHECK (remote_cidr IS NULL OR remote_group_id IS NULL)
);

CREATE INDEX security_group_rules_by_group ON security_group_rules (group_id, id);
CREATE INDEX security_group_rules_by_remote ON security_group_rules (remote_group_id) WHERE remote_group_id IS NOT NULL;
