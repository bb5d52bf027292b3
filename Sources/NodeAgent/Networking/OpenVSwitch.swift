import AloftModel
import FoundationEssentials
import IPAddressing
import Logging
import OVSDB

/// The node's part in networks, by Open vSwitch and OVN.
///
/// Invariants
/// - Open vSwitch's database is the only memory: what is there is compared with what should be, whenever either changes, and
///   from time to time.
/// - Nothing is written before the control plane has named southbound servers.
/// - Without Open vSwitch everything else of the agent works.
public actor OpenVSwitch: NodeNetworks {
  /// Between looks at what tells nothing by itself: the host's devices, ovn-controller's connection.
  private static let pause = Duration.seconds(4)

  let settings: NetworkSettings
  let datapath: Datapath
  let hypervisor: any Hypervisor
  let clock: any AgentClock
  let logger: Logger
  let links = HostLinks()
  private let identity: @Sendable () async throws(AgentFailure) -> SouthboundIdentity
  private let controller: OVNController
  private let client: OVSDBClient
  let replica: Replica
  private let metadata: MetadataNetworks

  var fabric: NetworkFabric?
  /// Whether the control plane has said what there is to join. Before that nothing can be said about this node: an agent that
  /// has just begun would report a problem where there is none.
  var hasAnswer = false
  var intent: SwitchIntent?
  /// As its database told it last; nil when it cannot be reached.
  var actual: LocalSwitch?
  /// Why it cannot be read though it can be reached.
  var refusal: String?
  var controllerFault: String?
  var told: NodeNetworking?
  private var isBringing = false
  private var isAskedAgain = false
  let began: Int
  /// Ports whose devices the host's kernel was told to leave alone.
  private var silenced: Set<UUID> = []
  var care = PortCare()
  private var listeners: [Int: AsyncStream<NetworkEvent>.Continuation] = [:]
  private var nextListener = 0

  /// Begins to connect; see ``run()``.
  ///
  /// - Parameter identity: what the node shows the southbound servers; asked for anew whenever it matters.
  public init(
    settings: NetworkSettings, hypervisor: any Hypervisor, clock: any AgentClock,
    identity: @escaping @Sendable () async throws(AgentFailure) -> SouthboundIdentity, logger: Logger
  ) async throws(AgentFailure) {
    self.settings = settings
    self.hypervisor = hypervisor
    self.clock = clock
    began = clock.now().uptime
    self.identity = identity
    self.logger = logger
    let node = try await identity().node
    datapath =
      switch settings.datapath {
      case .kernel: .kernel
      case .userspace: .userspace
      case .auto: await links.kernelDatapath() ? .kernel : .userspace
      }
    do throws(OVSDBError) {
      let remote = try Remote(settings.ovs)
      controller = OVNController(database: remote)
      client = try OVSDBClient(OVSDBConfiguration(database: "Open_vSwitch", remotes: [remote]), logger: logger)
    } catch {
      throw AgentFailure(.storage, "--ovs: \(error.message)")
    }
    replica = client.replica(of: LocalSwitch.tables)
    metadata = MetadataNetworks(node: node, clock: clock, logger: logger)
  }

  /// What guests' devices are made for.
  public nonisolated var guestDatapath: Datapath { datapath }

  /// Works until the task is cancelled. Guests' ports stay as they are then, and those of the metadata service.
  public func run() async {
    await metadata.use { [weak self] device in await self?.removePort(device) }
    await withDiscardingTaskGroup { group in
      group.addTask { await self.follow() }
      group.addTask { await self.metadata.run() }
      while !Task.isCancelled {
        await lookAround()
        try? await Task.sleep(for: Self.pause)
      }
      group.cancelAll()
    }
    client.close()
  }

  /// Follows the database until it ends for good.
  private func follow() async {
    do {
      for try await _ in replica.changes {
        take(replica.snapshot)
        await bring()
      }
    } catch {
      refusal = error.message
      logger.error("Open vSwitch's database cannot be read", metadata: ["failure": "\(error)"])
      refreshReport()
    }
  }

  private func take(_ snapshot: ReplicaSnapshot) {
    let before = actual?.installed ?? []
    actual = snapshot.isCurrent ? LocalSwitch(rows: { snapshot[$0] }) : nil
    if (actual?.installed ?? []) != before { tell(.portsChanged) }
  }

  /// Brings Open vSwitch to where it should be.
  private func bring() async {
    isAskedAgain = true
    guard !isBringing else { return }
    isBringing = true
    defer { isBringing = false }
    while isAskedAgain {
      isAskedAgain = false
      await refreshIntent()
      await silenceNewDevices()
      if let actual, let intent {
        let operations = intent.operations(for: actual)
        if !operations.isEmpty, await commit(operations) {
          logger.info("Open vSwitch's settings changed", metadata: ["operations": "\(operations.count)"])
        }
      }
      refreshReport()
    }
  }

  private func refreshIntent() async {
    guard let fabric else { return }
    do throws(AgentFailure) {
      let identity = try await identity()
      intent = SwitchIntent(
        chassis: identity.node.description, southbound: fabric.southbound, tunnelAddress: await tunnelAddress(fabric),
        bridgeMappings: settings.bridgeMappings, datapath: datapath, identity: identity,
        metadata: await metadata.ports)
    } catch {
      logger.warning("the node's identity cannot be read", metadata: ["failure": "\(error)"])
    }
  }

  private func tunnelAddress(_ fabric: NetworkFabric) async -> String? {
    if let address = settings.tunnelAddress { return address.description }
    for text in fabric.southbound {
      let address: String
      switch try? Remote(text) {
      case .tcp(let host, _), .tls(let host, _): address = host
      case .unix, nil: continue
      }
      if let target = IPAddress(address), let own = await links.source(towards: target), !own.isIPv6 {
        return own.description
      }
    }
    return nil
  }

  /// Runs a transaction and says whether it happened, as far as one can know.
  func commit(_ operations: [SwitchChange]) async -> Bool {
    do throws(OVSDBError) {
      try await client.transact(operations, timeout: .seconds(5))
      // The replica has it already; who follows it comes later.
      take(replica.snapshot)
      return true
    } catch {
      logger.warning("Open vSwitch's database did not take a change", metadata: ["failure": "\(error)"])
      return false
    }
  }

  private func silenceNewDevices() async {
    guard let actual else { return }
    let ours = actual.ports.filter { name, _ in
      name.hasPrefix(NICSpecification.devicePrefix) || name.hasPrefix(MetadataNetwork.devicePrefix)
    }
    let new = ours.filter { !silenced.contains($0.value.id) }
    silenced = Set(ours.values.map(\.id))
    guard !new.isEmpty else { return }
    let failed = await links.silence(Set(new.keys))
    if !failed.isEmpty {
      logger.warning(
        "the host's kernel speaks IPv6 on devices of guests: /proc/sys cannot be written",
        metadata: ["devices": "\(failed.sorted())"])
    }
  }

  /// What nobody tells.
  private func lookAround() async {
    if fabric != nil { controllerFault = await controller.fault() }
    await repair()
    await bring()
  }

  // MARK: What the agent asks

  public func missingPorts(of nics: [NICID]) async -> MissingPorts? {
    guard !nics.isEmpty else { return nil }
    let installed = actual?.installed ?? []
    let missing = nics.filter { !installed.contains($0) }
    guard !missing.isEmpty else { return nil }
    return MissingPorts(nics: missing, reason: told?.problem ?? "ovn-controller has not put its flows in place yet")
  }

  public func removeLeftovers(of nics: [NICID]) async throws(AgentFailure) {
    guard let ports = actual?.guestPorts else { return }
    let operations = nics.compactMap { ports[$0]?.port.removal }
    if !operations.isEmpty, await !commit(operations) {
      throw AgentFailure(.hypervisorRefused, "an old port of the machine could not be removed from Open vSwitch")
    }
  }

  public func report() -> NodeNetworking? { told }

  public func join(_ fabric: NetworkFabric?) async {
    guard !hasAnswer || (fabric != nil && self.fabric != fabric) else { return }
    if let fabric {
      self.fabric = fabric
      logger.info("OVN's southbound servers", metadata: ["remotes": "\(fabric.southbound)"])
      controllerFault = await controller.fault()
    }
    hasAnswer = true
    await repair()
    await bring()
  }

  public func serve(_ documents: [Assignment], number: Int) async {
    await metadata.serve(documents, number: number)
    await bring()
  }

  public func events() -> AsyncStream<NetworkEvent> {
    let (stream, continuation) = AsyncStream.makeStream(of: NetworkEvent.self, bufferingPolicy: .bufferingNewest(64))
    nextListener += 1
    let key = nextListener
    listeners[key] = continuation
    continuation.onTermination = { _ in Task { await self.forget(key) } }
    return stream
  }

  private func forget(_ listener: Int) { listeners[listener] = nil }

  func tell(_ event: NetworkEvent) { for listener in listeners.values { listener.yield(event) } }
}
