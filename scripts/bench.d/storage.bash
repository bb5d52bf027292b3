# Volumes, snapshots and clones through Aloft with a real agent and libvirt, beside qemu-img and libvirt alone; transfers of
# images beside nginx. The guest is emulated and boots nothing: what is measured ends when QEMU has it. To be sourced.
# shellcheck shell=bash

section_storage() {
  start_postgres
  start_aloftd aloft
  start_agent
  transfers
  boot_volumes
  disks_of_a_guest
  stop_section_agent
  stop "$aloftd_pid"
  stop_postgres
}

rounds='1 2 3 4 5 6 7 8'

# done_by PATH [JSON]: posts it; the answer comes when it is done, and is kept as $work/answer.log.log
done_by() { [[ $(post "$1" "${2:-}" -H 'Prefer: wait=60' -o "$work/answer.log" -w '%{http_code}') == 20[01] ]]; }

# time_of FILE COMMAND…: its milliseconds, as one more line of FILE
time_of() {
  local begin
  begin=$(date +%s%N)
  "${@:2}"
  elapsed_ms "$begin" >>"$1"
}

# time_of_virsh NAME COMMAND: its milliseconds, and beside them what only starting virsh takes
time_of_virsh() {
  time_of "$work/virsh-alone" virsh uri >/dev/null
  time_of "$work/$1.virsh" virsh "$2" >"$work/virsh.log" 2>&1 || { cat "$work/virsh.log" >&2; return 1; }
}

# beside WHAT NAME FLOOR-NAME BUDGET NOTE: the medians of NAME.aloft, and of NAME.by-hand or NAME.virsh
beside() {
  local floor
  if [ -e "$work/$2.virsh" ]; then floor=$(calculate "$(median <"$work/$2.virsh") - $(median <"$work/virsh-alone")")
  else floor=$(median <"$work/$2.by-hand"); fi
  record "$1" "$(median <"$work/$2.aloft")" ms "$floor" "$3" "$4" "median of 8; $5"
}

# --- images

# transfers: 2 GiB that nothing can be made smaller of, into the image "large" and out of it; beside nginx with TLS
transfers() {
  local file=$work/large
  head -c 2G /dev/zero | openssl enc -aes-128-ctr -pass pass:bench -pbkdf2 -nosalt >"$file"
  start_file_server
  post /v1/images '{"name":"large"}' >/dev/null
  time_of "$work/upload.aloft" api -o "$work/answer.log" -T "$file" -H 'Content-Type: application/octet-stream' \
    "$url/v1/images/large/content"
  time_of "$work/upload.by-hand" curl -sS --noproxy '*' --fail -k -T "$file" "$file_server/copy"
  time_of "$work/download.aloft" api -o /dev/null "$url/v1/images/large/content"
  time_of "$work/download.by-hand" curl -sS --noproxy '*' --fail -k -o /dev/null "$file_server/copy"
  stop "$file_server_pid"
  rm -r "$file" "$work/files"
  record "image upload, 2 GiB" "$(mib_per_second upload.aloft)" MiB/s "$(mib_per_second upload.by-hand)" "PUT to nginx, TLS" - \
    "durable, with its SHA-256 computed and inspected; nginx leaves it to the page cache"
  record "image download, 2 GiB" "$(mib_per_second download.aloft)" MiB/s "$(mib_per_second download.by-hand)" "nginx, TLS" - ""
}

mib_per_second() { calculate "2048 / ($(cat "$work/$1") / 1000)"; }

# start_file_server: nginx that keeps what it is sent; sets file_server and file_server_pid
start_file_server() {
  local port
  make_certificates
  port=$(free_port)
  file_server=https://127.0.0.1:$port
  mkdir -p "$work/files" "$work/nginx"
  cat >"$work/nginx/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
$([ "$(id -u)" != 0 ] || echo 'user root;')
events { worker_connections 64; }
http {
  access_log off;
  sendfile on;
  client_max_body_size 0;
  client_body_temp_path $work/files/temp; proxy_temp_path $work/nginx/proxy; fastcgi_temp_path $work/nginx/fastcgi;
  uwsgi_temp_path $work/nginx/uwsgi; scgi_temp_path $work/nginx/scgi;
  server {
    listen 127.0.0.1:$port ssl;
    ssl_certificate $work/pki/server.crt; ssl_certificate_key $work/pki/server.key;
    root $work/files;
    location / { dav_methods PUT; }
  }
}
CONF
  launch nginx nginx -p "$work/nginx" -c "$work/nginx/nginx.conf"
  file_server_pid=$launched
  until_true 10 "nginx" curl -sk --noproxy '*' -o /dev/null "$file_server/"
}

# boot_volumes: of the image "large", which the node has when the first one is made
boot_volumes() {
  local round layer base
  done_by /v1/volumes '{"name":"first","image":"large"}'
  layer=$(newest_layer)
  base=$(base_of "$layer")
  for round in $rounds; do
    time_of_call boot /v1/volumes "{\"name\":\"boot-$round\",\"image\":\"large\"}"
    time_of "$work/boot.by-hand" qemu-img create -q -f qcow2 -b "$base" -F "$(format_of_base "$layer")" "$work/boot-$round.qcow2" 2G
  done
  beside "boot volume of a cached image of 2 GiB" boot "qemu-img create -b" "added<=50" "to the answer of Prefer: wait"
  record "what such a volume takes on disk" "$(disk_kib "$(newest_layer)")" KiB "$(disk_kib "$work/boot-8.qcow2")" \
    "qemu-img create -b" "value<=1024" "nothing is copied"
}

newest_layer() { find "$work/agent" -name '*.qcow2' -path '*/layers/*' -printf '%T@ %p\n' | sort -g | tail -n 1 | cut -d' ' -f2; }
disk_kib() { du -k "$1" | cut -f1; }

# --- the disks of a guest that runs

disks_of_a_guest() {
  local round
  upload_image
  done_by /v1/vms '{"name":"guest","image":"bench","memory_mib":128}'
  start_by_hand "$(virsh list --name | head -n 1)"
  for round in $rounds; do
    time_of_call create /v1/volumes "{\"name\":\"data-$round\",\"size_gib\":1}"
    time_of "$work/create.by-hand" qemu-img create -q -f qcow2 "$work/raw/data-$round.qcow2" 1G
    cat >"$work/disk-$round.xml" <<XML
<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>
<source file='$work/raw/data-$round.qcow2'/><target dev='sd$(tr 1-8 b-i <<<"$round")' bus='scsi'/></disk>
XML
    # Of SCSI a guest need not let go by itself: this one runs nothing that would.
    time_of_call attach "/v1/volumes/data-$round/attach" '{"vm":"guest","bus":"scsi"}'
    time_of_virsh attach "attach-device raw $work/disk-$round.xml --live --config"
  done
  beside "volume create, empty" create "qemu-img create" - "to the answer of Prefer: wait"
  beside "volume attach to a guest that runs" attach "virsh attach-device" - "to the answer of Prefer: wait"

  for round in $rounds; do
    time_of_call snapshot /v1/snapshots "{\"name\":\"at-$round\",\"volume\":\"data-1\"}"
    time_of_virsh snapshot "snapshot-create-as raw --disk-only --atomic --no-metadata $(only_disk sdb "$round")"
    time_of_call clone /v1/volumes "{\"name\":\"clone-$round\",\"snapshot\":\"at-$round\"}"
    time_of "$work/clone.by-hand" qemu-img create -q -f qcow2 -b "$work/raw/data-1.qcow2" -F qcow2 "$work/raw/clone-$round.qcow2" 1G
  done
  beside "snapshot of a volume of a guest that runs" snapshot "virsh snapshot-create-as" - "to the answer of Prefer: wait"
  beside "clone of a snapshot" clone "qemu-img create -b" - "to the answer of Prefer: wait"

  for round in $rounds; do
    time_of_call detach "/v1/volumes/data-$round/detach"
    time_of_virsh detach "detach-disk raw sd$(tr 1-8 b-i <<<"$round") --live --config"
  done
  beside "volume detach from a guest that runs" detach "virsh detach-disk" - "to the answer of Prefer: wait; SCSI"
}

# only_disk TARGET NUMBER: what makes virsh take a snapshot of this disk and of no other
only_disk() {
  local target
  for target in $(virsh domblklist raw | awk '{ print $1 }'); do
    if [ "$target" = "$1" ]; then printf -- '--diskspec %s,file=%s/raw/data-1-%s.qcow2 ' "$1" "$work" "$2"
    else printf -- '--diskspec %s,snapshot=no ' "$target"; fi
  done
}
