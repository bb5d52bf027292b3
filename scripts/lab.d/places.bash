# The network namespaces of a lab and the cables between them. To be sourced by scripts/lab, which sets mark, control, outside,
# node_count, state and run.
# shellcheck shell=bash
# shellcheck disable=SC2154

# cable NAMESPACE NAME NAMESPACE NAME: connects two namespaces
cable() {
  ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
  ip -n "$1" link set "$2" addrgenmode none up
  ip -n "$3" link set "$4" addrgenmode none up
}

# bridge NAMESPACE NAME: a bridge of the kernel's, for cables
bridge() {
  ip -n "$1" link add "$2" type bridge
  ip -n "$1" link set "$2" up
}

add_namespace() {
  ip netns add "$1"
  ip -n "$1" link set lo up
}

make_outside() {
  add_namespace "$outside"
  bridge "$outside" br-ext
  # The userspace datapath takes packets as they are: their checksums have to be in them.
  in_namespace "$outside" ethtool -K br-ext tx off >/dev/null 2>&1 || true
  ip -n "$outside" address add 198.51.100.1/24 dev br-ext
  ip -n "$outside" address add fd00:a10f::1/64 dev br-ext nodad
  ip -n "$outside" address add 203.0.113.80/32 dev lo
  ip -n "$outside" address add fd00:a10f:80::80/128 dev lo nodad
}

# A network of four addresses for the cable to this machine, which no other lab and nothing else here uses
choose_link() {
  local third
  for third in $(seq 4 4 248); do
    if [ -z "$(ip -4 -o address show to "172.31.254.$third/30")" ] && [ -z "$(ip -4 route show root "172.31.254.$third/30")" ]; then
      echo "$third"
      return
    fi
  done
  die "all addresses of 172.31.254.0/24 are in use"
}

make_control() {
  local link
  add_namespace "$control"
  bridge "$control" br-mgmt
  bridge "$control" br-tunnel
  ip -n "$control" address add 10.99.0.254/24 dev br-mgmt
  # Two labs that begin at the same moment must not choose the same.
  exec 7>/run/aloft-lab.lock
  flock 7
  link=$(choose_link)
  ip link add "aloft-$mark" type veth peer name api0 netns "$control"
  ip link set "aloft-$mark" addrgenmode none up
  ip address add "172.31.254.$((link + 2))/30" dev "aloft-$mark"
  exec 7>&-
  ip -n "$control" address add "172.31.254.$((link + 1))/30" dev api0
  ip -n "$control" link set api0 addrgenmode none up
  echo "172.31.254.$((link + 1))" >"$run/address"
}

# make_node NUMBER
make_node() {
  local place
  place=$(namespace "node$1")
  add_namespace "$place"
  cable "$place" mgmt0 "$control" "mgmt$1"
  ip -n "$control" link set "mgmt$1" master br-mgmt
  ip -n "$place" address add "10.99.0.$1/24" dev mgmt0
  cable "$place" tunnel0 "$control" "tunnel$1"
  ip -n "$control" link set "tunnel$1" master br-tunnel
  cable "$place" ext0 "$outside" "ext$1"
  ip -n "$outside" link set "ext$1" master br-ext
  in_namespace "$outside" ethtool -K "ext$1" tx off >/dev/null
}

# places: which namespaces of this lab there are
places() { ip netns list 2>/dev/null | grep -o "^aloft-$mark-[a-z0-9-]*" || true; }

# metadata_places: the namespaces that agents have made for their nodes' networks
metadata_places() {
  local name
  for name in $(nodes); do metadata_namespaces "$state/$name/agent/identity/node.json"; done
}

# place NAME COMMAND…: runs the command that makes the namespace, unless it was made and is there
place() {
  local there
  there=$(places | grep -x "$1" || true)
  [ -z "$there" ] || [ ! -e "$run/$1.made" ] || return 0
  [ -z "$there" ] || end_namespace "$1"
  rm -f "$run/$1.made"
  "${@:2}"
  touch "$run/$1.made"
}

make_places() {
  local number
  step "network namespaces"
  place "$outside" make_outside
  place "$control" make_control
  for number in $(seq "$node_count"); do place "$(namespace "node$number")" make_node "$number"; done
  note "$(places | sort | paste -sd ' ')"
}
