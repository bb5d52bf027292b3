import AloftModel
import Execution
import Glibc
import IPAddressing
import Logging

/// Brings the metadata service into every network that a VM of this node is in: a network namespace with one end of a cable,
/// whose other end is a port of OVN's bridge, and in it sockets that this process serves.
///
/// A cable and not a port of Open vSwitch's own: those go when ovs-vswitchd restarts without the kernel's datapath.
///
/// Namespaces outlive the agent. What there is is known by its name alone.
actor MetadataNetworks {
  private let node: NodeID
  private let logger: Logger
  private let server: MetadataServer
  private let names: NameServer
  /// Nil: not told yet, so nothing is removed.
  private var wanted: [MetadataNetwork]?
  /// What was made as it stands here by this process.
  private var made: [NetworkID: MetadataNetwork] = [:]
  /// The number of the list that was told last.
  private var served = 0
  private var removePort: (@Sendable (String) async -> Void)?
  private var isBringing = false
  private var isAskedAgain = false

  init(node: NodeID, clock: any AgentClock, logger: Logger) {
    self.node = node
    self.logger = logger
    server = MetadataServer(clock: clock, logger: logger)
    names = NameServer(clock: clock)
  }

  /// The ports that OVN's bridge has to have.
  var ports: MetadataPorts {
    MetadataPorts(
      wanted: wanted.map { $0.reduce(into: [:]) { $0[$1.device] = $1.id.metadataPort } },
      ready: Set(made.values.map(\.device)))
  }

  /// How a port of OVN's bridge is removed. One that is left of an earlier device would be dead for a new one of the same name.
  func use(removePort: @escaping @Sendable (String) async -> Void) { self.removePort = removePort }

  /// These are all VMs of this node that have NICs.
  func serve(_ documents: [Assignment], number: Int) async {
    guard number > served else { return }
    served = number
    server.use(documents)
    wanted = MetadataNetwork.all(of: documents)
    await bring()
  }

  /// Mends what breaks, until the task is cancelled; then nobody is served any more.
  func run() async {
    while !Task.isCancelled {
      await bring()
      try? await Task.sleep(for: .seconds(10))
    }
    await server.stop()
    await names.stop()
  }

  private func bring() async {
    isAskedAgain = true
    guard !isBringing else { return }
    isBringing = true
    defer { isBringing = false }
    while isAskedAgain {
      isAskedAgain = false
      guard let wanted else { return }
      let names = Set(wanted.map { $0.namespace(on: node) })
      for network in made.values where !wanted.contains(where: { $0.id == network.id }) {
        made[network.id] = nil
        await leave(network.id)
      }
      let prefix = MetadataNetwork.namespacePrefix(of: node)
      for name in FileSystem.names(in: NetworkNamespace.folder) where name.hasPrefix(prefix) && !names.contains(name) {
        await tolerate("a network's namespace could not be removed", name) { () async throws(AgentFailure) in
          try await Tool.run("ip", ["netns", "delete", name])
        }
      }
      for network in wanted {
        let name = network.namespace(on: node)
        if made[network.id] == network, await isThere(network) { continue }
        await tolerate("the metadata service has no way into a network", name) { () async throws(AgentFailure) in
          try await make(network, name)
        }
      }
    }
  }

  private func tolerate(
    _ what: Logger.Message, _ name: String, _ body: () async throws(AgentFailure) -> Void
  ) async {
    do throws(AgentFailure) { try await body() } catch {
      logger.warning(what, metadata: ["namespace": "\(name)", "failure": "\(error)"])
    }
  }

  private func isThere(_ network: MetadataNetwork) async -> Bool {
    access(NetworkNamespace.path(network.namespace(on: node)), F_OK) == 0 && if_nametoindex(network.device) > 0
  }

  /// Each of these may be repeated.
  private func make(_ network: MetadataNetwork, _ name: String) async throws(AgentFailure) {
    let inner = MetadataNetwork.innerDevice
    let wasThere = await isThere(network)
    let isNew = made[network.id] == nil || !wasThere
    made[network.id] = nil
    if await !NetworkNamespace.exists(name) {
      // Sockets keep a namespace alive that has no name any more, and with it the cable.
      await leave(network.id)
      if if_nametoindex(network.device) > 0 { try await Tool.run("ip", ["link", "delete", network.device]) }
      if FileSystem.exists(NetworkNamespace.path(name)) { try await Tool.run("ip", ["netns", "delete", name]) }
      try await Tool.run("ip", ["netns", "add", name])
    }
    if if_nametoindex(network.device) == 0 {
      await removePort?(network.device)
      try await Tool.run(
        "ip", ["link", "add", network.device, "type", "veth", "peer", "name", inner, "netns", name])
    }
    try await NetworkNamespace.run(in: name) { () throws(AgentFailure) in
      // The tenant's routers have nothing to tell here.
      try Self.set("0", "/proc/sys/net/ipv6/conf/\(inner)/accept_ra")
    }
    let mtu = ["mtu", "\(network.mtu)", "addrgenmode", "none", "up"]
    try await Tool.run("ip", ["-n", name, "link", "set", "dev", "lo", "up"])
    try await Tool.run(
      "ip", ["-n", name, "link", "set", "dev", inner, "address", network.id.metadataMAC] + mtu)
    try await Tool.run("ip", ["-n", name, "address", "flush", "dev", inner])
    let addresses = [MetadataNetwork.ipv4 + "/32", MetadataNetwork.ipv6 + "/64"] + network.addresses
    for address in addresses where !address.contains(":") || MetadataNetwork.kernelKnowsIPv6 {
      let nodad = address.contains(":") ? ["nodad"] : []
      try await Tool.run("ip", ["-n", name, "address", "replace", address, "dev", inner] + nodad)
    }
    // ovs-vswitchd's own datapath takes packets as they are: their checksums have to be in them.
    try await Tool.run("ip", ["netns", "exec", name, "ethtool", "-K", inner, "tx", "off"])
    try await Tool.run("ip", ["link", "set", "dev", network.device] + mtu)
    if isNew {
      await leave(network.id)
      try await server.enter(network.id, namespace: name)
    }
    try await names.serve(network, namespace: name)
    made[network.id] = network
  }

  private func leave(_ network: NetworkID) async {
    await server.leave(network)
    await names.leave(network)
  }

  private static func set(_ value: String, _ path: String) throws(AgentFailure) {
    // A kernel without IPv6 has no such file.
    guard FileSystem.exists(path) else { return }
    try FileSystem.withFile(path, O_WRONLY) { file throws(AgentFailure) in
      try FileSystem.writeAll(Array(value.utf8), to: file, path)
    }
  }
}
