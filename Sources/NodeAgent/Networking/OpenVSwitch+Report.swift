import AloftModel
import IPAddressing
import OVSDB

extension OpenVSwitch {
  /// Works out what the control plane is told.
  func refreshReport() {
    guard hasAnswer else { return }
    // The first connection takes a moment.
    if actual == nil, refusal == nil, clock.now().uptime - began < 2_000 { return }
    let mappings = settings.bridgeMappings.keys.sorted()
    let known = (actual?.externalIDs["ovn-bridge-mappings"] ?? "").split(separator: ",").compactMap { entry in
      entry.split(separator: ":").first.map(String.init)
    }
    let new = NodeNetworking(
      datapath: actual == nil ? nil : datapath,
      tunnelAddress: actual?.externalIDs["ovn-encap-ip"],
      physicalNetworks: mappings.isEmpty ? known.sorted() : mappings,
      problem: problem)
    guard new != told else { return }
    if let problem = new.problem, problem != told?.problem {
      logger.notice("machines with network interfaces cannot run here", metadata: ["problem": "\(problem)"])
    }
    told = new
    tell(.reportChanged)
  }

  private var problem: String? {
    if let refusal { return "Open vSwitch's database at \(settings.ovs) cannot be used: \(refusal)" }
    guard let actual else {
      return replica.snapshot.isCurrent
        ? "Open vSwitch's database at \(settings.ovs) is empty: start ovs-vswitchd by its service"
        : "Open vSwitch cannot be reached at \(settings.ovs): install and start openvswitch-switch and ovn-host, or give --ovs"
    }
    guard let fabric else { return "the control plane has not named OVN's southbound servers yet" }
    guard let tunnel = actual.externalIDs["ovn-encap-ip"].flatMap({ IPAddress($0) }), !tunnel.isIPv6 else {
      return
        "no IPv4 address for tunnels: there is no such way to \(fabric.southbound.joined(separator: ", ")); give --tunnel-address"
    }
    if intent?.identity?.authorities == nil, fabric.southbound.contains(where: { $0.hasPrefix("ssl:") }) {
      return "no authority is known by which OVN's southbound servers could be verified: give --ca"
    }
    if let controllerFault { return controllerFault }
    guard actual.integration != nil else {
      return "OVN has not made its bridge \(NICSpecification.bridge) yet: look at ovn-controller's log"
    }
    return nil
  }
}
