-- The least that an accepted create can be: the rows of one VM in one statement, for a node that is drawn by lot.
\set node random(1, :nodes)
WITH ids AS MATERIALIZED (
  SELECT gen_random_uuid() AS vm, gen_random_uuid() AS operation, gen_random_uuid()::text AS key
), node AS (
  UPDATE nodes SET assignment_revision = assignment_revision + 1
   WHERE id = ('01900000-0001-7000-8000-' || lpad(to_hex(:node::int), 12, '0'))::uuid AND schedulable
     AND vcpus_claimed + 1 <= vcpus_limit AND memory_mib_claimed + 512 <= memory_mib_limit
     AND disk_gib_claimed + 1 <= disk_gib_limit
  RETURNING id, assignment_revision
), vm AS (
  INSERT INTO vms (id, project_id, name, image_id, vcpus, memory_mib, hostname, desired_power,
                   assignment_revision)
  SELECT ids.vm, '01900000-0000-7000-8000-000000000001', ids.key, '01900000-0002-7000-8000-000000000001', 1, 512,
         ids.key, 'running', node.assignment_revision FROM node, ids
  RETURNING id, incarnation, generation
), claim AS (
  INSERT INTO claims (vm_id, incarnation, node_id, vcpus, memory_mib)
  SELECT vm.id, vm.incarnation, node.id, 1, 512 FROM vm, node
), volume AS (
  INSERT INTO volumes (id, project_id, name, pool_id, node_id, size_gib, image_id, vm_id, position, boot_index,
                       delete_with_vm, usage_slot, assignment_revision)
  SELECT ids.operation, '01900000-0000-7000-8000-000000000001', ids.key, '01900000-0000-7000-8000-000000000003', node.id, 1,
         '01900000-0002-7000-8000-000000000001', vm.id, 0, 1, true, aloft_usage_slot(vm.id), node.assignment_revision
    FROM vm, node, ids
), operation AS (
  INSERT INTO operations (id, project_id, kind, resource_id, generation, actor, request_id, deadline)
  SELECT ids.operation, '01900000-0000-7000-8000-000000000001', 'vm.create', vm.id, vm.generation, 'bench', 'bench',
         now() + interval '30 minutes' FROM vm, ids
), event AS (
  INSERT INTO events (kind, project_id, resource_id, data)
  SELECT 'vm.created', '01900000-0000-7000-8000-000000000001', vm.id, '{"name": "bench"}' FROM vm
), work AS (
  INSERT INTO work (kind, id, due_at) SELECT 'vm', vm.id, now() + interval '30 minutes' FROM vm
), audit AS (
  INSERT INTO audit (actor, peer, request_id, operation, project_id, resource_id)
  SELECT 'bench', '127.0.0.1', 'bench', 'createVM', '01900000-0000-7000-8000-000000000001', vm.id FROM vm
), idempotency AS (
  INSERT INTO idempotency_keys (actor, key, request_hash, status, headers, body)
  SELECT 'bench', ids.key, decode(repeat('00', 32), 'hex'), 202, '{"Location": "/v1/vms/bench"}',
         decode(repeat('00', 900), 'hex') FROM ids, vm
)
SELECT 1 FROM vm;
