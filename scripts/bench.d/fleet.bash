# Machines on simulated nodes: the real control plane, the real agent and its HTTPS link, a hypervisor that takes no time.
# To be sourced.
# shellcheck shell=bash

section_fleet() {
  local output
  start_postgres
  start_aloftd aloft
  upload_image
  mkdir -p "$work/fleet/"{0..19}
  output=$("$programs/aloft-bench" fleet --url "$url" --ca "$work/pki/ca.crt" --token "$token" --image bench \
    --directory "$work/fleet" --nodes 20 --single 100 --many "$((seconds * 400))")
  value() { awk -v name="$1" '$1 == name { print $2 }' <<<"$output"; }
  record "create to running on 20 simulated nodes" "$(value rate)" "VMs/s" - - "value>=500" \
    "32 clients, each waits until its VM runs"
  record "create to running on 20 simulated nodes, p50" "$(value create_p50)" ms - - "value<=100" \
    "p99 $(value create_p99) ms"
  record "accepted to agent begins, p50" "$(value begin_p50)" ms - - "value<=50" \
    "p99 $(value begin_p99) ms from the answer; from sending the request p50 $(value begin_sent_p50) ms, p99 $(value begin_sent_p99) ms"
  stop "$aloftd_pid"
  stop_postgres
}

# upload_image: an empty disk, as the image "bench"
upload_image() {
  qemu-img create -q -f qcow2 "$work/image.qcow2" 64M
  post /v1/images '{"name":"bench"}' >/dev/null
  api -T "$work/image.qcow2" -H 'Content-Type: application/octet-stream' "$url/v1/images/bench/content" >/dev/null
}
