# Accepted creates per second, durably, beside one statement that writes the same rows. To be sourced.
# shellcheck shell=bash

section_place() {
  local nodes database output floor accepted rate first=
  start_postgres
  for nodes in 100 1000 10000; do
    database=nodes_$nodes
    for database in nodes_$nodes floor_$nodes; do
      "$postgres_programs/createdb" -h "$work/postgres" -U aloft -T aloft "$database"
      sql -d "$database" -v nodes="$nodes" -v vms=0 -f "$here/bench.d/rows.sql" >"$work/rows.log" 2>&1
    done
    sql -d postgres -c checkpoint
    floor=$(pgbench_rate "floor_$nodes" -D nodes="$nodes" -f "$here/bench.d/floor.sql")
    start_aloftd "nodes_$nodes"
    seconds=1 load_url "$url" 8 create.lua "$token" warm >/dev/null
    output=$(load_url "$url" 8 create.lua "$token" bench)
    rate=$(rate_of "$output")
    # What was answered must be there.
    accepted=$(sql -d "nodes_$nodes" -c "select count(*) from vms where name like 'bench-%'")
    [ "$accepted" -ge "$(count_of "$output")" ]
    "$programs/aloftd" check --database-url "$(database_url "nodes_$nodes")" >"$work/check.log" \
      || { cat "$work/check.log" >&2; return 1; }
    stop "$aloftd_pid"
    first=${first:-$rate}
    record "durable placements, $nodes nodes, 8 writers" "$rate" "creates/s" "$floor" "one statement" \
      "value>=2500;ratio>=0.35" \
      "p50 $(percentile_of "$output" 50) ms, p99 $(percentile_of "$output" 99) ms; $(calculate "$rate / $first") × the rate at 100 nodes"
  done
  stop_postgres
}
