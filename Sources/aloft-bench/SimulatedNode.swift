import AloftModel
import HTTPClient
import Logging
import NodeAgent
import SimulatedHypervisor

/// A node with a hypervisor that takes no time: everything else of its agent is real.
struct SimulatedNode: Sendable {
  var name: String
  var directory: String
  var url: String
  var ca: String
  var starts: StartTimes
  /// Whether it counts as connected to networks.
  var hasNetworks = false

  /// Joins the cloud; gives the agent, to be run.
  func join(token: String) async throws -> Agent {
    let clock = SystemClock()
    let logger = Logger(label: name, factory: { _ in SwiftLogNoOpLogHandler() })
    var report = NodeReport(
      architecture: "x86_64", accelerator: .kvm, vcpus: 64, memoryMib: 1 << 20, diskGib: 1 << 20, facts: [:])
    if hasNetworks {
      report.vcpus = 4096
      report.networking = NodeNetworking(datapath: .kernel, tunnelAddress: "192.0.2.1")
    }
    let facts = report
    let store = IdentityStore(data: directory)
    let identity = try await Enrolment(store: store, link: link(nil, logger), clock: clock, logger: logger)
      .join(name: name, token: token, report: facts)
    let host = SimulatedHost(seed: 1)
    let performer = EffectPerformer(
      hypervisor: SimulatedHypervisor(host),
      storage: WatchedStorage(base: SimulatedStorage(host, fetchesContent: false), starts: starts),
      journal: SimulatedJournal(host), link: link(identity, logger), clock: clock,
      networks: hasNetworks ? SimulatedNetworks(host) : NoNetworks(),
      platform: { () async throws(AgentFailure) in
        DomainPlatform(architecture: "x86_64", accelerator: .kvm, directIO: true)
      },
      nodeReport: { () async throws(AgentFailure) in facts },
      renewIdentity: { () async throws(AgentFailure) in identity.validity }, logger: logger)
    let machine = AgentMachine(now: clock.now(), seed: .random(in: .min ... .max), identity: identity.validity)
    return Agent(machine: machine, performer: performer)
  }

  private func link(_ identity: NodeIdentity?, _ logger: Logger) -> HTTPControlPlaneLink {
    let certificate = identity.map {
      HTTPClientConfiguration.ClientCertificate(certificateFile: $0.certificatePath, keyFile: $0.keyPath)
    }
    return HTTPControlPlaneLink(
      urls: [url],
      client: { [ca] in
        HTTPClient(
          configuration: HTTPClientConfiguration(trustRoots: .file(ca), clientCertificate: certificate), logger: logger)
      },
      logger: logger)
  }
}

/// A simulated storage that notes when work on a machine began.
struct WatchedStorage: NodeStorage {
  var base: SimulatedStorage
  var starts: StartTimes

  func createSeed(_ seed: Seed) async throws(AgentFailure) {
    starts.note(seed.vm)
    try await base.createSeed(seed)
  }

  func pool(_ name: String) -> (any VolumeBackend)? { base.pool(name) }
  func pools() async -> [NodeStoragePool] { await base.pools() }
  func contents() async throws(AgentFailure) -> NodeContents { try await base.contents() }
  func paths(of vm: VMID) -> VMPaths { base.paths(of: vm) }
  func files(of vm: VMID) async throws(AgentFailure) -> VMFiles { try await base.files(of: vm) }
  func remove(_ vm: VMID) async throws(AgentFailure) { try await base.remove(vm) }
  func space() async throws(AgentFailure) -> StorageSpace { try await base.space() }
  func supportsDirectIO() async -> Bool { await base.supportsDirectIO() }
  func boundSerialLogs() async throws(AgentFailure) { try await base.boundSerialLogs() }
  func serialLog(of vm: VMID) async throws(AgentFailure) -> any SerialLogReader { try await base.serialLog(of: vm) }
}
