# A node for the sections that measure a real agent and libvirt: what starts it, and the same things by hand. To be sourced.
# shellcheck shell=bash

# start_agent [OPTION…]: a libvirtd and a node of their own; sets libvirt_uri and agent_pid
start_agent() {
  local secret
  libvirt_directory=$work/libvirt
  libvirt_uri=$("$here/libvirt-private" start "$libvirt_directory")
  secret=$(post /v1/node-tokens '{"description":"bench"}' \
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])')
  export ALOFT_AGENT_JOIN_TOKEN=$secret
  launch agent "$programs/aloft-agent" --url "$url" --ca "$work/pki/ca.crt" --data "$work/agent" \
    --libvirt "$libvirt_uri" --name bench-node --accelerator tcg "$@"
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

# time_of_call NAME PATH [JSON]: posts it, and adds to NAME.aloft the milliseconds from the request, on a connection that is there,
# to its answer, which comes when it is done: starting curl is no more Aloft's than starting virsh is libvirt's
time_of_call() {
  local status connected answered
  read -r status connected answered < <(post "$2" "${3:-}" -H 'Prefer: wait=60' -o "$work/answer.log" \
    -w '%{http_code} %{time_appconnect} %{time_starttransfer}\n')
  [[ $status == 20[01] ]]
  calculate "($answered - $connected) * 1000" >>"$work/$1.aloft"
  echo >>"$work/$1.aloft"
}

virsh() { command virsh --quiet --connect "$libvirt_uri" "$@"; }

# define_by_hand VM NAME: what libvirt has as VM, as raw.xml with another name and files of its own in raw/; sets disk, what the
# VM boots from, and by_hand_disk, which is to be made in its place
define_by_hand() {
  local seed
  virsh dumpxml --inactive "$1" >"$work/definition"
  disk=$(sed -n "s/.*<source file='\([^']*qcow2\)'.*/\1/p" "$work/definition" | head -n 1)
  seed=$(sed -n "s/.*<source file='\([^']*seed.iso\)'.*/\1/p" "$work/definition" | head -n 1)
  by_hand_disk=$work/raw/${disk##*/}
  mkdir -p "$work/raw"
  cp "$seed" "$work/raw/"
  sed -e "s|<uuid>.*</uuid>||; s|<name>.*</name>|<name>$2</name>|; s|${disk%/*}/|$work/raw/|; s|${seed%/*}/|$work/raw/|" \
    -e "/<metadata>/,/<\/metadata>/d" "$work/definition" >"$work/raw.xml"
}

# start_by_hand VM: the guest "raw", with what VM has
start_by_hand() {
  define_by_hand "$1" raw
  qemu-img create -q -f qcow2 -b "$(base_of "$disk")" -F "$(format_of_base "$disk")" "$by_hand_disk" 1G
  virsh "define $work/raw.xml; start raw"
}

# base_of LAYER and format_of_base LAYER: the file below it, and what that is
base_of() { backing "$1" full-backing-filename; }
format_of_base() { backing "$1" backing-filename-format; }
backing() {
  qemu-img info -U --output json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$2"
}
