\set nic random(1, 200000)
\set seed random(1, 9000000000000000)
SELECT aloft_take_address('01900000-0000-7000-8000-0000000000b1', :seed, 'nic',
                          ('01900000-0000-7000-9000-' || lpad(to_hex(:nic::bigint), 12, '0'))::uuid);
