-- Takes `wanted` for an owner, or gives null when somebody has it. What rests may be taken back by name.
CREATE FUNCTION aloft_take_that_address(subnet uuid, wanted inet, kind text, owner uuid, rests interval) RETURNS inet
  LANGUAGE sql AS $$
  INSERT INTO addresses AS a (subnet_id, address, nic_id, router_id, floating_ip_id, load_balancer_id)
  VALUES (subnet, wanted, CASE kind WHEN 'nic' THEN owner END, CASE kind WHEN 'router' THEN owner END,
          CASE kind WHEN 'floating_ip' THEN owner END, CASE kind WHEN 'load_balancer' THEN owner END)
  ON CONFLICT (subnet_id, address) DO UPDATE
    SET nic_id = excluded.nic_id, router_id = excluded.router_id, floating_ip_id = excluded.floating_ip_id,
        load_balancer_id = excluded.load_balancer_id, released_at = NULL
    WHERE a.released_at <= aloft_now() - rests
  RETURNING a.address
$$;

-- Takes any free address of a subnet's pool for an owner, or gives null when there is none.
--
-- Addresses are tried at places that follow from `seed`, so that many who take at once do not queue behind one. Where the pool
-- is so full that eight are taken, the next free one behind such a place is looked for along the index.
CREATE FUNCTION aloft_take_address(subnet uuid, seed bigint, kind text, owner uuid) RETURNS inet LANGUAGE plpgsql AS $$
DECLARE
  rests CONSTANT interval := '1 minute';
  firsts inet[];
  sizes bigint[];
  total numeric;
  place numeric;
  begins inet;
  ends inet;
  candidate inet;
  taken inet;
BEGIN
  SELECT pool_first, pool_size, (SELECT sum(n) FROM unnest(pool_size) n) INTO firsts, sizes, total
    FROM subnets WHERE id = subnet;
  IF coalesce(total, 0) = 0 THEN RETURN NULL; END IF;
  FOR attempt IN 1..8 LOOP
    place := mod(hashint8extended(attempt, seed)::numeric + 9223372036854775808, total);
    FOR i IN 1..cardinality(sizes) LOOP
      IF place < sizes[i] THEN
        candidate := firsts[i] + place::bigint;
        EXIT;
      END IF;
      place := place - sizes[i];
    END LOOP;
    taken := aloft_take_that_address(subnet, candidate, kind, owner, rests);
    IF taken IS NOT NULL THEN RETURN taken; END IF;
  END LOOP;
  -- From the last place to the end, then from the beginning.
  FOR round IN 1..2 LOOP
    FOR i IN 1..cardinality(sizes) LOOP
      begins := CASE round WHEN 1 THEN greatest(firsts[i], candidate) ELSE firsts[i] END;
      ends := firsts[i] + (sizes[i] - 1);
      WHILE begins <= ends LOOP
        SELECT c INTO begins FROM (
          SELECT begins AS c
           UNION ALL
          SELECT a.address + 1 FROM addresses a
           WHERE a.subnet_id = subnet AND a.address >= begins AND a.address < ends) places
         WHERE NOT EXISTS (SELECT 1 FROM addresses t WHERE t.subnet_id = subnet AND t.address = c
                              AND (t.released_at > aloft_now() - rests OR t.released_at IS NULL))
         ORDER BY c LIMIT 1;
        EXIT WHEN NOT FOUND;
        taken := aloft_take_that_address(subnet, begins, kind, owner, rests);
        IF taken IS NOT NULL THEN RETURN taken; END IF;
        begins := begins + 1;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN NULL;
END $$;
