-- Rows for scripts/bench: NODES nodes with room for millions of VMs, alive for a day, one image with content, and VMS VMs
-- that run on them, each with claim, observation and ended operation. Sums and foreign keys are right by construction, so
-- triggers are left out.
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO nodes (id, name, pool_id, architecture, accelerator, vcpus, memory_mib, disk_gib, vcpus_limit,
                   memory_mib_limit, disk_gib_limit, vcpus_claimed, memory_mib_claimed, disk_gib_claimed, public_key_sha256)
SELECT ('01900000-0001-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'node-' || i,
       '01900000-0000-7000-8000-000000000002', 'x86_64', 'kvm', 1000000, 1000000000, 1000000000, 4000000, 1000000000,
       1000000000, mine.vms, mine.vms * 512, mine.vms, ''
  FROM generate_series(1, :nodes) i, LATERAL (SELECT :vms / :nodes + (i <= :vms % :nodes)::int AS vms) mine;
INSERT INTO node_leases SELECT id, now(), now() + interval '1 day' FROM nodes;
INSERT INTO images (id, project_id, name, architecture, upload, format, size_bytes, virtual_size_bytes, sha256)
VALUES ('01900000-0002-7000-8000-000000000001', '01900000-0000-7000-8000-000000000001', 'bench', 'x86_64',
        '01900000-0002-7000-8000-000000000002', 'qcow2', 196608, 67108864, repeat('0', 64));
INSERT INTO vms (id, project_id, name, labels, image_id, vcpus, memory_mib, hostname, desired_power)
SELECT ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '01900000-0000-7000-8000-000000000001', 'vm-' || i,
       '{"tier": "web"}', '01900000-0002-7000-8000-000000000001', 1, 512, 'vm-' || i, 'running'
  FROM generate_series(1, :vms) i;
INSERT INTO claims (vm_id, incarnation, node_id, vcpus, memory_mib)
SELECT ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1,
       ('01900000-0001-7000-8000-' || lpad(to_hex((i - 1) % :nodes + 1), 12, '0'))::uuid, 1, 512
  FROM generate_series(1, :vms) i;
INSERT INTO volumes (id, project_id, name, pool_id, node_id, size_gib, image_id, vm_id, position, boot_index, delete_with_vm,
                     usage_slot)
SELECT ('01900000-0005-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '01900000-0000-7000-8000-000000000001',
       'vm-' || i || '-boot', '01900000-0000-7000-8000-000000000003',
       ('01900000-0001-7000-8000-' || lpad(to_hex((i - 1) % :nodes + 1), 12, '0'))::uuid, 1,
       '01900000-0002-7000-8000-000000000001', ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 0, 1, true,
       i % 16
  FROM generate_series(1, :vms) i;
INSERT INTO volume_observations (volume_id, generation, state, size_bytes, used_bytes, sequence)
SELECT id, 1, 'ready', 1 << 30, 4096, 1 FROM volumes;
INSERT INTO vm_observations (vm_id, incarnation, generation, power, sequence)
SELECT ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1, 1, 'running', 1 FROM generate_series(1, :vms) i;
INSERT INTO operations (id, project_id, kind, resource_id, generation, status, actor, request_id, deadline, finished_at)
SELECT ('01900000-0004-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '01900000-0000-7000-8000-000000000001', 'vm.create',
       ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1, 'succeeded', 'bench', 'bench', now(), now()
  FROM generate_series(1, :vms) i;
RESET session_replication_role;
VACUUM ANALYZE;
