-- What was asked for. Only API transactions write here, and the reconciler when a guest turned itself off.
CREATE TABLE vms (
  id                  uuid PRIMARY KEY,
  project_id          uuid NOT NULL REFERENCES projects,
  name                text NOT NULL,
  labels              jsonb NOT NULL DEFAULT '{}',
  image_id            uuid NOT NULL REFERENCES images,
  vcpus               integer NOT NULL,
  memory_mib          bigint NOT NULL,
  disk_gib            bigint NOT NULL,
  hostname            text NOT NULL,
  ssh_keys            text[] NOT NULL DEFAULT '{}',
  user_data           text NOT NULL DEFAULT '',
  node_selector       jsonb NOT NULL DEFAULT '{}',
  accelerator         text NOT NULL DEFAULT 'any',
  desired_power       text NOT NULL CHECK (desired_power IN ('running', 'stopped')),
  stop_grace_seconds  integer NOT NULL DEFAULT 60,
  incarnation         bigint NOT NULL DEFAULT 1,
  generation          bigint NOT NULL DEFAULT 1,
  -- The node's count at the last change of this document; what the agent asks `after`.
  assignment_revision bigint NOT NULL DEFAULT 0,
  deleted_at          timestamptz,
  revision            bigint NOT NULL DEFAULT 1,
  created_at          timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at          timestamptz NOT NULL DEFAULT aloft_now()
);

-- A name is free again as soon as the deletion is accepted.
CREATE UNIQUE INDEX vms_name ON vms (project_id, name) WHERE deleted_at IS NULL;

CREATE INDEX vms_by_project ON vms (project_id, id);
CREATE INDEX vms_by_image ON vms (image_id);
