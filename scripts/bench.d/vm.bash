# One VM through Aloft with a real agent and libvirt, beside libvirt alone with the same definition and the same kind of
# disk. Guests are emulated and boot nothing: what is measured ends when the domain runs. To be sourced.
# shellcheck shell=bash

section_vm() {
  local round vm disk folder base begin empty times
  start_postgres
  start_aloftd aloft
  start_agent
  upload_image
  virsh() { command virsh --quiet --connect "$libvirt_uri" "$@"; }
  for round in 0 1 2 3 4 5 6 7 8; do
    begin=$(date +%s%N)
    post /v1/vms "{\"name\":\"bench-$round\",\"image\":\"bench\",\"memory_mib\":128}" -H 'Prefer: wait=60' >"$work/created"
    [ "$round" = 0 ] || elapsed_ms "$begin" >>"$work/through-aloft"
    grep -q '"state":"running"' "$work/created"
    vm=$(virsh list --name | head -n 1)
    virsh dumpxml --inactive "$vm" >"$work/definition"
    disk=$(sed -n "s/.*<source file='\([^']*qcow2\)'.*/\1/p" "$work/definition" | head -n 1)
    base=$(qemu-img info -U --output json "$disk" | python3 -c 'import json, sys; print(json.load(sys.stdin)["backing-filename"])')
    folder=${disk%/*}
    mkdir -p "$work/raw"
    cp "$folder"/seed.iso "$work/raw/"
    api -X DELETE "$url/v1/vms/bench-$round" -H 'Prefer: wait=60' >/dev/null

    # The same by hand; what only starting virsh takes is not libvirt's.
    sed -e "s|<uuid>.*</uuid>||; s|<name>.*</name>|<name>raw</name>|; s|$folder|$work/raw|" \
      -e "/<metadata>/,/<\/metadata>/d" "$work/definition" >"$work/raw.xml"
    begin=$(date +%s%N)
    virsh uri >/dev/null
    empty=$(elapsed_ms "$begin")
    begin=$(date +%s%N)
    qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$work/raw/${disk##*/}" 1G
    virsh "define $work/raw.xml; start raw" >"$work/virsh.log" 2>&1 || { cat "$work/virsh.log" >&2; return 1; }
    times=$(calculate "$(elapsed_ms "$begin") - $empty")
    [ "$round" = 0 ] || echo "$times" >>"$work/by-hand"
    virsh "destroy raw; undefine raw" >"$work/virsh.log" 2>&1
  done
  record "VM create until it runs, through Aloft" "$(median <"$work/through-aloft")" ms "$(median <"$work/by-hand")" \
    "qemu-img create, define, start" "added<=100" \
    "median of 8; to the answer of Prefer: wait; includes making the cloud-init disk"
  stop_section_agent
  stop "$aloftd_pid"
  stop_postgres
}

# elapsed_ms BEGIN: milliseconds since BEGIN (nanoseconds since 1970)
elapsed_ms() { calculate "($(date +%s%N) - $1) / 1000000"; echo; }

# start_agent: a libvirtd and a node of their own; sets libvirt_uri and agent_pid
start_agent() {
  local secret
  libvirt_directory=$work/libvirt
  libvirt_uri=$("$here/libvirt-private" start "$libvirt_directory")
  secret=$(post /v1/node-tokens '{"description":"bench"}' \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')
  export ALOFT_AGENT_JOIN_TOKEN=$secret
  launch agent "$programs/aloft-agent" --url "$url" --ca "$work/pki/ca.crt" --data "$work/agent" \
    --libvirt "$libvirt_uri" --name bench-node --accelerator tcg
  unset ALOFT_AGENT_JOIN_TOKEN
  agent_pid=$launched
  node_is_ready() { api "$url/v1/nodes/bench-node" | grep -q '"state":"ready"'; }
  until_true 30 "the node ready" node_is_ready
}

stop_section_agent() {
  stop "$agent_pid"
  "$here/libvirt-private" stop "$libvirt_directory" --guests
  libvirt_directory=
}
