# Networks: how soon OVN has a NIC that was asked for, with 2000 ports there already, and how fast addresses are given out.
# To be sourced.
# shellcheck shell=bash

section_network() {
  local output ovn=$work/ovn
  start_postgres
  "$here/ovn-private" central "$ovn" >>"$work/ovn.log" 2>&1
  start_aloftd aloft --ovn-northbound "unix:$ovn/run/nb.sock"
  upload_image
  mkdir -p "$work/fleet/ports"
  output=$("$programs/aloft-bench" ports --url "$url" --ca "$work/pki/ca.crt" --token "$token" --image bench \
    --directory "$work/fleet/ports" --northbound "unix:$ovn/run/nb.sock" --southbound "unix:$ovn/run/sb.sock")
  value() { awk -v name="$1" '$1 == name { print $2 }' <<<"$output"; }
  record "NIC accepted and in OVN's northbound database, at 2000 ports, p50" "$(value ours_p50)" ms "$(value by_hand_p50)" \
    "the row by hand" "value<=50" "p99 $(value ours_p99) ms; northd took $(value northd_p50) ms more (p50) to bind it"
  record "NICs into OVN, eight of each new VM" "$(value filled)" "ports/s" "$(value by_hand_rate)" "rows by hand, one after another" - \
    "until the southbound database has all 2000"
  stop "$aloftd_pid"
  "$here/ovn-private" stop "$ovn" >>"$work/ovn.log" 2>&1
  addresses
  stop_postgres
}

# addresses: PostgreSQL alone, by eight clients; the floor inserts addresses that it knows to be free
addresses() {
  local given block
  sql -d postgres -c 'create database addresses'
  "$programs/aloftd" migrate --share "$root" --database-url "$(database_url addresses)" >>"$work/migrate.log" 2>&1
  for block in 10.0.0.0/8 fd00:1::/64; do
    sql -d addresses -v block="$block" -f "$here/bench.d/addresses.sql" >>"$work/addresses.log" 2>&1
    given=$(pgbench_rate addresses -f "$here/bench.d/take-address.sql")
    sql -d addresses -c 'delete from addresses'
    record "addresses given out of $block" "$given" "addresses/s" \
      "$(pgbench_rate addresses -f "$here/bench.d/insert-address.sql")" "a bare insert" - "8 clients, each in a transaction of its own"
    sql -d addresses -c 'delete from addresses'
  done
}
