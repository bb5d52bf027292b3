-- What the benchmark of addresses needs: one subnet of the block that is to be measured, and 200 000 NICs to have them.
BEGIN;
DELETE FROM subnets;
INSERT INTO networks (id, project_id, name, mtu)
SELECT '01900000-0000-7000-8000-0000000000a1', id, 'bench', 1442 FROM projects ON CONFLICT DO NOTHING;
INSERT INTO subnets (id, network_id, project_id, name, cidr, configuration, pool_first, pool_size)
SELECT '01900000-0000-7000-8000-0000000000b1', '01900000-0000-7000-8000-0000000000a1', id, 'bench', :'block', 'dhcp',
       ARRAY[host(:'block'::cidr)::inet + 2],
       ARRAY[CASE family(:'block'::cidr) WHEN 4 THEN 1 << 23 ELSE 1::bigint << 62 END]
  FROM projects;
INSERT INTO images (id, project_id, name, architecture)
SELECT '01900000-0000-7000-8000-0000000000c1', id, 'bench', 'x86_64' FROM projects ON CONFLICT DO NOTHING;
INSERT INTO vms (id, project_id, name, image_id, vcpus, memory_mib, hostname, desired_power)
SELECT '01900000-0000-7000-8000-0000000000d1', id, 'bench', '01900000-0000-7000-8000-0000000000c1', 1, 64, 'bench',
       'stopped' FROM projects ON CONFLICT DO NOTHING;
INSERT INTO nics (id, project_id, network_id, vm_id, position, mac)
SELECT ('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, p.id, '01900000-0000-7000-8000-0000000000a1',
       '01900000-0000-7000-8000-0000000000d1', n, ('02' || lpad(to_hex(n), 10, '0'))::macaddr
  FROM projects p, generate_series(1, 200000) n ON CONFLICT DO NOTHING;
COMMIT;
VACUUM ANALYZE;
