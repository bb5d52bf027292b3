-- A disk. Only API transactions and the reconciler write here what was asked for.
CREATE TABLE volumes (
  id                  uuid PRIMARY KEY,
  project_id          uuid NOT NULL REFERENCES projects,
  name                text NOT NULL,
  labels              jsonb NOT NULL DEFAULT '{}',
  pool_id             uuid NOT NULL REFERENCES storage_pools,
  -- Whose agent has its document; in a pool that nodes do not share, where its content is. Null: that node was removed.
  node_id             uuid REFERENCES nodes,
  size_gib            bigint NOT NULL CHECK (size_gib > 0),
  -- What it was made from; nothing: zeros.
  image_id            uuid REFERENCES images,
  -- The VM that has it, or is to let go of it.
  vm_id               uuid REFERENCES vms,
  detaching           boolean NOT NULL DEFAULT false,
  -- The order in which the VM has its volumes.
  position            integer,
  bus                 text NOT NULL DEFAULT 'virtio' CHECK (bus IN ('virtio', 'scsi')),
  -- The VM boots from the lowest; null: not from this one.
  boot_index          integer CHECK (boot_index > 0),
  -- It goes with its VM.
  delete_with_vm      boolean NOT NULL DEFAULT false,
  -- Which row of project_usage counts it: for a volume that comes with a VM that of the VM, or two creates would lock two rows
  -- each, in no order.
  usage_slot          integer NOT NULL,
  -- Its agent has made it: if it is not there any more, it is lost.
  is_made             boolean NOT NULL DEFAULT false,
  generation          bigint NOT NULL DEFAULT 1,
  -- The node's count at the last change of this document; what the agent asks `after`.
  assignment_revision bigint NOT NULL DEFAULT 0,
  deleted_at          timestamptz,
  revision            bigint NOT NULL DEFAULT 1,
  created_at          timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at          timestamptz NOT NULL DEFAULT aloft_now(),
  CHECK ((vm_id IS NULL) = (position IS NULL))
);

CREATE UNIQUE INDEX volumes_name ON volumes (project_id, name) WHERE deleted_at IS NULL;
CREATE INDEX volumes_by_project ON volumes (project_id, id);
CREATE UNIQUE INDEX volumes_position ON volumes (vm_id, position);
CREATE INDEX volumes_by_node ON volumes (node_id, assignment_revision);
CREATE INDEX volumes_by_image ON volumes (image_id);

-- What the agent saw last. Only its reports write here.
CREATE TABLE volume_observations (
  volume_id      uuid PRIMARY KEY REFERENCES volumes ON DELETE CASCADE,
  generation     bigint NOT NULL,
  state          text NOT NULL CHECK (state IN ('absent', 'preparing', 'ready')),
  size_bytes     bigint,
  used_bytes     bigint,
  activity       text,
  bytes_done     bigint,
  bytes_total    bigint,
  problem_code   text,
  problem_detail text,
  sequence       bigint NOT NULL,
  reported_at    timestamptz NOT NULL DEFAULT aloft_now()
);

-- The volumes that a guest has; null from agents that do not tell.
ALTER TABLE vm_observations ADD disks uuid[];
