# The networks of the cloud that scripts/up makes: OVN's databases and one node's switch, on this machine. To be sourced
# behind cloud-steps.bash by scripts/up, and behind local-cloud.bash by scripts/down.
#
# The physical network `external` is a bridge of Open vSwitch's, aloft-ex, on which this machine has 172.31.255.1/24:
# floating IPs are reached from here, and from nowhere else. Nothing else of the machine's network changes.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034

external_bridge=aloft-ex
external_subnet=172.31.255.0/24
external_gateway=172.31.255.1
external_pool=172.31.255.16-172.31.255.254

# networks_obstacle: why this machine cannot have them; nothing if it can
networks_obstacle() {
  local program
  [ "$(id -u)" = 0 ] || { echo "they need root"; return; }
  for program in ovn-northd ovn-controller ovs-vswitchd; do
    command -v $program >/dev/null || { echo "$program is not installed"; return; }
  done
  [ -c /dev/net/tun ] || { echo "there is no /dev/net/tun"; return; }
  [ -z "$libvirt_is_given" ] || { echo "ALOFT_LIBVIRT_URI names a libvirt that has its own Open vSwitch"; return; }
  # The kernel has one datapath for all of them.
  if [ "$(scripts/ovn-private prepare)" = kernel ] && [ -e /run/openvswitch/ovs-vswitchd.pid ] \
    && kill -0 "$(cat /run/openvswitch/ovs-vswitchd.pid)" 2>/dev/null; then
    echo "the machine's own Open vSwitch runs; stop it first"
  fi
}

# start_southbound PORT: OVN's databases and northd
start_southbound() {
  if [ ! -s "$state/pki/southbound/key.pem" ]; then
    "$programs/aloftd" ca issue --name 127.0.0.1 --out "$state/pki/southbound" >>"$log/ca.log" 2>&1 \
      || die "OVN got no certificate; see $log/ca.log"
  fi
  scripts/ovn-private central "$state/ovn" --southbound "127.0.0.1:$1" --key "$state/pki/southbound/key.pem" \
    --certificate "$state/pki/southbound/certificate.pem" --authorities "$state/pki/ca.crt" 9>&-
  note "$(scripts/ovn-private status "$state/ovn" | paste -sd ' ')"
}

# start_switch: Open vSwitch and ovn-controller
start_switch() {
  scripts/ovn-private host "$state/ovs" --bridge "$external_bridge=,$external_gateway/24" 9>&-
  note "$(scripts/ovn-private status "$state/ovs" | paste -sd ' ')"
  if [ "$(scripts/ovn-private prepare)" = kernel ]; then
    note "packets are switched by the kernel"
  else
    note "packets are switched in userspace, which is slow: this kernel has no openvswitch module"
  fi
}

# start_libvirt: our libvirtd. It plugs guests' network cards into the Open vSwitch that OVS_RUNDIR names.
start_libvirt() {
  local pid
  pid=$(scripts/libvirt-private status "$state/libvirt" 2>/dev/null | sed -n 's/^running pid=\([0-9]*\).*/\1/p' || true)
  if [ -n "$pid" ] && ! tr '\0' '\n' <"/proc/$pid/environ" | grep -qx "OVS_RUNDIR=$state/ovs/run"; then
    scripts/libvirt-private stop "$state/libvirt"
  fi
  OVS_RUNDIR=$state/ovs/run scripts/libvirt-private start "$state/libvirt" 9>&-
}

# stop_networks [--cleanup]: ends it all; guests that run on keep their ports. With --cleanup no device is left.
stop_networks() {
  local part name cleanup=("$@")
  for part in ovs ovn; do
    [ ! -d "$state/$part" ] || scripts/ovn-private stop "$state/$part" "${cleanup[@]}"
  done
  [ ${#cleanup[@]} -gt 0 ] || return 0
  for name in $(metadata_namespaces "$state/agent/identity/node.json"); do end_namespace "$name"; done
}

# --- what is drawn on them, once aloftd and the node are there

# ensure PATH NAME JSON: makes what has this name, unless it is there
ensure() { api GET "$1/$2" >/dev/null 2>&1 || api POST "$1" "$3" >/dev/null; }

# draw_external_network: what leads to this machine, by root
draw_external_network() {
  ensure /v1/external-networks outside '{"name": "outside", "physical_network": "external"}'
  ensure /v1/external-networks/outside/subnets outside \
    "{\"name\": \"outside\", \"cidr\": \"$external_subnet\", \"gateway\": \"$external_gateway\", \"pools\": [\"$external_pool\"]}"
}

# draw_network: the network `default`, on which VMs get a card unless they ask for another; its router; and the security
# group `web`
draw_network() {
  ensure /v1/networks default '{"name": "default"}'
  ensure /v1/subnets default '{"name": "default", "network": "default", "cidr": "10.0.0.0/24"}'
  ensure /v1/routers default '{"name": "default", "external_network": "outside"}'
  api PUT /v1/routers/default/interfaces/default >/dev/null
  ensure /v1/security-groups web '{"name": "web", "rules": [{"direction": "ingress", "ip_version": 4, "protocol": "tcp", "port": 80},
    {"direction": "ingress", "ip_version": 4, "protocol": "icmp"}]}'
}

# give_floating_ip VM: an address by which this machine reaches it; prints it
give_floating_ip() {
  local nic address
  nic=$(api GET "/v1/vms/$1" | first nics id)
  [ -n "$nic" ] || nic=$(api POST /v1/nics "{\"vm\": \"$1\", \"network\": \"default\"}" | field id)
  api PATCH "/v1/nics/$nic" '{"security_groups": ["default", "web"]}' >/dev/null
  address=$(api GET /v1/floating-ips | first items address nic_id "$nic")
  [ -n "$address" ] || address=$(api POST /v1/floating-ips "{\"external_network\": \"outside\", \"nic\": \"$nic\"}" | field address)
  echo "$address"
}

# first LIST MEMBER [KEY VALUE]: that member of the first object in the list, or of the first that has the value; or nothing
first() {
  python3 -c '
import json, sys
name, member, *condition = sys.argv[1:]
for item in json.load(sys.stdin)[name]:
    if not condition or item[condition[0]] == condition[1]:
        print(item[member])
        break' "$@"
}
