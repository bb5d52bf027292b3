\set nic random(1, 200000)
\set place random(2, 8000000)
INSERT INTO addresses (subnet_id, address, nic_id)
SELECT id, pool_first[1] + :place::bigint, ('01900000-0000-7000-9000-' || lpad(to_hex(:nic::bigint), 12, '0'))::uuid
  FROM subnets WHERE id = '01900000-0000-7000-8000-0000000000b1'
ON CONFLICT DO NOTHING;
