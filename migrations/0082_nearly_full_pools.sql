-- As in 0064; only where a pool is nearly full, the next free address is looked for along the index, window by window, so that
-- finding it costs the addresses on the way to it and not all of the subnet.
CREATE OR REPLACE FUNCTION aloft_take_address(subnet uuid, seed bigint, kind text, owner uuid) RETURNS inet LANGUAGE plpgsql AS $$
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
  gap inet;
  seen integer;
  last inet;
  step integer;
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
  -- From the last place to the end, then from the beginning to it.
  FOR round IN 1..2 LOOP
    FOR i IN 1..cardinality(sizes) LOOP
      begins := CASE round WHEN 1 THEN greatest(firsts[i], candidate) ELSE firsts[i] END;
      ends := firsts[i] + (sizes[i] - 1);
      IF round = 2 THEN ends := least(ends, candidate); END IF;
      step := 256;
      WHILE begins <= ends LOOP
        -- Of the next rows the first that is not where it would be if there were no free address, or rests no more.
        SELECT min(CASE WHEN w.address > begins + (w.n - 1) THEN begins + (w.n - 1)
                        WHEN w.released_at <= aloft_now() - rests THEN w.address END), count(*), max(w.address)
          INTO gap, seen, last
          FROM (SELECT a.address, a.released_at, row_number() OVER (ORDER BY a.address) AS n FROM addresses a
                 WHERE a.subnet_id = subnet AND a.address >= begins AND a.address <= ends
                 ORDER BY a.address LIMIT step) w;
        IF gap IS NULL THEN
          EXIT WHEN last >= ends;
          IF seen = step THEN
            begins := last + 1;
            step := least(step * 4, 16384);
            CONTINUE;
          END IF;
          gap := begins + seen;
        END IF;
        taken := aloft_take_that_address(subnet, gap, kind, owner, rests);
        IF taken IS NOT NULL THEN RETURN taken; END IF;
        EXIT WHEN gap >= ends;
        begins := gap + 1;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN NULL;
END $$;
