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
  takes_option "$programs/aloftd" serve --ovn-northbound && takes_option "$programs/aloft-agent" --tunnel-address \
    || { echo "these programs have none"; return; }
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

# stop_networks: ends it all; guests that run on keep their ports
stop_networks() {
  local part cleanup=("$@")
  for part in ovs ovn; do
    [ ! -d "$state/$part" ] || scripts/ovn-private stop "$state/$part" "${cleanup[@]}"
  done
}
