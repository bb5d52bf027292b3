# Reading through the API beside pgbench's select by primary key, and list pages of a small and a large table. To be
# sourced.
# shellcheck shell=bash

section_read() {
  local vms=${VMS:-1000000} size kind output floor own rows
  start_postgres
  "$postgres_programs/createdb" -h "$work/postgres" -U aloft -T aloft large
  note "writing $vms VMs"
  sql -d aloft -v nodes=100 -v vms=1000 -f "$here/bench.d/rows.sql" >"$work/rows.log" 2>&1
  sql -d large -v nodes=100 -v vms="$vms" -f "$here/bench.d/rows.sql" >"$work/rows.log" 2>&1
  # Here and now: autovacuum would do it in the middle of what is measured.
  sql -d aloft -c 'vacuum analyze' && sql -d large -c 'vacuum analyze'
  sql -d postgres -c checkpoint -c 'create database pgbench'
  pgbench -i -q -s 10 pgbench 2>"$work/pgbench.log"
  python3 "$here/bench.d/targets.py" "$vms" "$work/large"
  python3 "$here/bench.d/targets.py" 1000 "$work/aloft"
  seconds=1 pgbench_rate pgbench -S >/dev/null
  for size in aloft large; do
    start_aloftd $size
    for kind in get list; do
      # The first run fills caches.
      seconds=1 load_url "$url" 8 get.lua "$token" "$work/$size-$kind" >/dev/null
      pgbench_rate pgbench -S >>"$work/select-only"
      load_url "$url" 8 get.lua "$token" "$work/$size-$kind" >"$work/$size-$kind.wrk"
      pgbench_rate pgbench -S >>"$work/select-only"
      own_statement $size $kind "$([ $size = large ] && echo "$vms" || echo 1000)" >"$work/$size-$kind.sql"
      pgbench_rate $size -f "$work/$size-$kind.sql" >"$work/$size-$kind.own"
    done
    stop "$aloftd_pid"
  done
  floor=$(median <"$work/select-only")
  output=$(cat "$work/large-get.wrk")
  record "GET of one VM, of $vms" "$(rate_of "$output")" "requests/s" "$floor" "pgbench -S" "ratio>=0.5" \
    "8 clients over TLS (aloftd has no other); p50 $(percentile_of "$output" 50) ms, p99 $(percentile_of "$output" 99) ms"
  own=$(cat "$work/large-get.own")
  record "GET of one VM, beside its own statement" "$(rate_of "$output")" "requests/s" "$own" "the statement by pgbench" - \
    "the statement alone is $(calculate "$own / $floor") × pgbench -S"
  for size in aloft large; do
    output=$(cat "$work/$size-list.wrk")
    rows=$([ $size = large ] && echo "$vms" || echo 1000)
    record "list page of 100 VMs, of $rows" "$(rate_of "$output")" "pages/s" "$(cat "$work/$size-list.own")" \
      "the statement by pgbench" "value>=2000" \
      "8 clients over TLS; p50 $(percentile_of "$output" 50) ms, p99 $(percentile_of "$output" 99) ms"
  done
  record "list page of 100 VMs, of $vms beside 1000" "$(rate_of "$output")" "pages/s" \
    "$(rate_of "$(cat "$work/aloft-list.wrk")")" "of 1000" "ratio>=0.8"
  stop_postgres
}

# own_statement DATABASE KIND VMS: the statement that aloftd sent last, as a script of pgbench for VMs drawn by lot
own_statement() {
  local vm="('01900000-0003-7000-8000-' || lpad(to_hex(:vm::int), 12, '0'))::uuid" text
  text=$(sql -d postgres -c "select query from pg_stat_activity where application_name = 'aloftd' and datname = '$1'
    and query like '%FROM vms v%' order by query_start desc limit 1")
  [ -n "$text" ]
  printf '\\set vm random(1, %d)\n' $(($3 - 101))
  if [ "$2" = get ]; then
    sed "s/\$1/$vm/; s/\$2/'default'/" <<<"$text"
  else
    sed "s/\$1/'default'/; s/\$2/$vm/; s/\$3/101/" <<<"$text"
  fi
  echo ';'
}
