# What aloftd and an agent hold. To be sourced.
# shellcheck shell=bash

section_memory() {
  start_postgres
  sql -d aloft -v nodes=10000 -v vms=0 -f "$here/bench.d/rows.sql" >"$work/rows.log" 2>&1
  start_aloftd aloft
  start_agent
  # The first create reads the fleet; more of them read it again.
  local index
  for index in 1 2 3 4 5; do
    post /v1/vms "{\"name\":\"bench-$index\",\"image\":\"bench\"}" >/dev/null
    sleep 1.1
  done
  record "aloftd with 10000 nodes, resident" "$(resident_mib "$aloftd_pid")" MiB - - "value<=150" "after five creates"
  record "aloft-agent, resident" "$(resident_mib "$agent_pid")" MiB - - "value<=50" "idle, with libvirt connected"
  stop_section_agent
  stop "$aloftd_pid"
  stop_postgres
}
