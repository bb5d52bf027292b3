# Volumes of a pool in Ceph, beside the tools of Ceph and libvirt alone. The cluster is one of this machine (scripts/ceph-private);
# where Ceph is not installed nothing is measured. To be sourced.
# shellcheck shell=bash

section_ceph() {
  local configuration keyring
  if ! command -v ceph-osd >/dev/null; then
    note "Ceph is not installed here (scripts/install-packages ceph)"
    return
  fi
  ceph_directory=$(mktemp -d /tmp/aloft-bench-ceph.XXXXXX)
  # Room for all that is promised below; its file is sparse.
  configuration=$(CEPH_SIZE=128G "$here/ceph-private" start "$ceph_directory" bench)
  keyring=$("$here/ceph-private" client "$ceph_directory" aloft bench)
  # QEMU's user reads both.
  chmod 0755 "$ceph_directory"
  chmod 0644 "$configuration"
  start_postgres
  start_aloftd aloft
  start_agent --pool "shared=rbd:bench:id=aloft:conf=$configuration:keyring=$keyring"
  post /v1/storage-pools '{"name":"shared","kind":"rbd"}' >/dev/null
  until_true 30 "the pool on the node" pool_is_there
  disks_in_ceph
  stop_section_agent
  stop "$aloftd_pid"
  stop_postgres
  stop_ceph
}

stop_ceph() {
  "$here/ceph-private" stop "$ceph_directory" >/dev/null || true
  rm -rf "$ceph_directory"
  ceph_directory=
}

pool_is_there() { api "$url/v1/storage-pools/shared" | grep -q '"places":\[{'; }

disks_in_ceph() {
  local round
  upload_image
  done_by /v1/vms '{"name":"guest","image":"bench","memory_mib":128}'
  start_by_hand "$(virsh list --name | head -n 1)"

  # The first one brings the image into the pool.
  done_by /v1/volumes '{"name":"first","image":"bench","pool":"shared"}'
  rbd_by_hand create --size 1G bench/base
  rbd_by_hand snap create bench/base@base
  for round in $rounds; do
    time_of_call boot /v1/volumes "{\"name\":\"boot-$round\",\"image\":\"bench\",\"pool\":\"shared\"}"
    time_of "$work/boot.by-hand" clone_by_hand bench/base@base "bench/boot-$round"
    time_of_call create /v1/volumes "{\"name\":\"data-$round\",\"size_gib\":1,\"pool\":\"shared\"}"
    time_of "$work/create.by-hand" rbd_by_hand create --size 1G "bench/data-$round"
    time_of_call attach "/v1/volumes/data-$round/attach" '{"vm":"guest","bus":"scsi"}'
  done
  for round in $rounds; do
    time_of_call snapshot /v1/snapshots "{\"name\":\"at-$round\",\"volume\":\"data-1\"}"
    time_of "$work/snapshot.by-hand" rbd_by_hand snap create "bench/data-1@at-$round"
    time_of_call clone /v1/volumes "{\"name\":\"clone-$round\",\"snapshot\":\"at-$round\"}"
    time_of "$work/clone.by-hand" clone_by_hand "bench/data-1@at-$round" "bench/clone-$round"
  done

  # What Aloft has let go of is given to the other guest.
  network_disks
  for round in $rounds; do time_of_call detach "/v1/volumes/data-$round/detach"; done
  for round in $rounds; do time_of_virsh attach "attach-device raw $work/disk-$round.xml --live"; done
  for round in $rounds; do time_of_virsh detach "detach-device raw $work/disk-$round.xml --live"; done

  beside "Ceph: boot volume of a cached image" boot "rbd clone" - "to the answer of Prefer: wait"
  beside "Ceph: volume create, empty" create "rbd create" - "to the answer of Prefer: wait"
  beside "Ceph: volume attach to a guest that runs" attach "virsh attach-device" - "to the answer of Prefer: wait"
  beside "Ceph: snapshot of a volume of a guest that runs" snapshot "rbd snap create" - \
    "to the answer of Prefer: wait; the guest stands still meanwhile"
  beside "Ceph: clone of a snapshot" clone "rbd clone" - "to the answer of Prefer: wait"
  beside "Ceph: volume detach from a guest that runs" detach "virsh detach-device" - "to the answer of Prefer: wait; SCSI"
}

rbd_by_hand() { "$here/ceph-private" exec "$ceph_directory" rbd "$@" >>"$work/rbd.log" 2>&1; }
clone_by_hand() { rbd_by_hand clone --rbd-default-clone-format 2 "$@"; }

# network_disks: the disks of the VM that are in Ceph, as disk-1.xml and so on
network_disks() {
  virsh dumpxml "$(virsh list --name | grep '^vm_')" | python3 -c '
import sys, xml.etree.ElementTree as tree
number = 0
for disk in tree.parse(sys.stdin).iterfind("devices/disk[@type=\"network\"]"):
    for name in ("alias", "address", "backingStore"):
        for part in disk.findall(name): disk.remove(part)
    number += 1
    tree.ElementTree(disk).write(f"{sys.argv[1]}/disk-{number}.xml")
' "$work"
}
