# One VM through Aloft with a real agent and libvirt, beside libvirt alone with the same definition and the same kind of
# disk. Guests are emulated and boot nothing: what is measured ends when the domain runs. To be sourced.
# shellcheck shell=bash

section_vm() {
  local round vm base begin empty times
  start_postgres
  start_aloftd aloft
  start_agent
  upload_image
  for round in 0 1 2 3 4 5 6 7 8; do
    # What came first was slow.
    [ "$round" != 1 ] || rm "$work/vm.aloft"
    time_of_call vm /v1/vms "{\"name\":\"bench-$round\",\"image\":\"bench\",\"memory_mib\":128}"
    grep -q '"state":"running"' "$work/answer.log"
    vm=$(virsh list --name | head -n 1)
    define_by_hand "$vm" raw
    base=$(base_of "$disk")
    api -X DELETE "$url/v1/vms/bench-$round" -H 'Prefer: wait=60' >/dev/null

    # The same by hand; what only starting virsh takes is not libvirt's.
    begin=$(date +%s%N)
    virsh uri >/dev/null
    empty=$(elapsed_ms "$begin")
    begin=$(date +%s%N)
    qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$by_hand_disk" 1G
    virsh "define $work/raw.xml; start raw" >"$work/virsh.log" 2>&1 || { cat "$work/virsh.log" >&2; return 1; }
    times=$(calculate "$(elapsed_ms "$begin") - $empty")
    [ "$round" = 0 ] || echo "$times" >>"$work/by-hand"
    virsh "destroy raw; undefine raw" >"$work/virsh.log" 2>&1
  done
  record "VM create until it runs, through Aloft" "$(median <"$work/vm.aloft")" ms "$(median <"$work/by-hand")" \
    "qemu-img create, define, start" "added<=100" \
    "median of 8; to the answer of Prefer: wait; includes making the cloud-init disk"
  stop_section_agent
  stop "$aloftd_pid"
  stop_postgres
}
