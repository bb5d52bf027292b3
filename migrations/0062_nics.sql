-- A VM's interface on a network. It comes with the VM or is plugged later, and goes with the VM at the latest. There is no quota
-- of NICs: a VM has so many at most, and counting them would make creates queue.
CREATE TABLE nics (
  id             uuid PRIMARY KEY,
  project_id     uuid NOT NULL REFERENCES projects,
  network_id     uuid NOT NULL REFERENCES networks,
  vm_id          uuid NOT NULL REFERENCES vms ON DELETE CASCADE,
  -- The order in which the guest sees the VM's NICs.
  position       integer NOT NULL,
  mac            macaddr NOT NULL,
  labels         jsonb NOT NULL DEFAULT '{}',
  -- Packets with other addresses than its own are dropped.
  anti_spoofing  boolean NOT NULL DEFAULT true,
  -- Other addresses that it may use: [{"cidr": …, "mac": …}].
  allowed_pairs  jsonb NOT NULL DEFAULT '[]',
  -- kbit/s, as the guest sees it.
  ingress_kbps   integer CHECK (ingress_kbps > 0),
  egress_kbps    integer CHECK (egress_kbps > 0),
  -- The guest is to let go of it. The row stays, and keeps its addresses, until the guest has.
  deleted_at     timestamptz,
  revision       bigint NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT aloft_now(),
  updated_at     timestamptz NOT NULL DEFAULT aloft_now()
);

CREATE UNIQUE INDEX nics_mac ON nics (network_id, mac);
CREATE UNIQUE INDEX nics_position ON nics (vm_id, position);
CREATE INDEX nics_by_project ON nics (project_id, id);

CREATE TABLE nic_security_groups (
  nic_id   uuid NOT NULL REFERENCES nics ON DELETE CASCADE,
  group_id uuid NOT NULL REFERENCES security_groups,
  PRIMARY KEY (nic_id, group_id)
);

CREATE INDEX nic_security_groups_by_group ON nic_security_groups (group_id);

-- What OVN says about a NIC's port: whether its node has connected it.
CREATE TABLE nic_ports (
  nic_id uuid PRIMARY KEY REFERENCES nics ON DELETE CASCADE,
  up     boolean NOT NULL,
  since  timestamptz NOT NULL DEFAULT aloft_now()
);
