import AloftModel
import Execution
import HTTPClient
import Logging
import NodeAgent

/// Puts the parts of the agent together and runs it.
struct AgentService {
  let settings: AgentSettings
  let version: String
  let logger: Logger

  func run() async throws {
    let directory = try await DataDirectory.take(settings.data)
    defer { withExtendedLifetime(directory) {} }
    let clock = SystemClock()
    let hypervisor = LibvirtHypervisor(
      uri: settings.libvirt, parallelCalls: settings.parallel, ceph: Array(settings.clusters.values),
      stateDirectory: settings.libvirtState, logger: logger)
    let storage = try await openStorage()
    let directIO = await storage.supportsDirectIO()
    let reporter = NodeReporter(
      settings: settings.capacity, version: version, hypervisor: hypervisor, storage: storage)
    let report = try await firstReport(reporter, clock)
    logger.info(
      "host",
      metadata: [
        "accelerator": "\(report.accelerator)", "vcpus": "\(report.vcpus)", "memory_mib": "\(report.memoryMib)",
        "disk_gib": "\(report.diskGib)",
      ])

    let name = if let given = settings.name { given } else { await reporter.hostname ?? "node" }
    let clusters = Dictionary(settings.clusters.values.map { ($0.pool, $0) }) { first, _ in first }
    let store = IdentityStore(data: settings.data)
    let identity = try await identify(store, clock, name: name, report: report)
    let nodeLogger = logger(of: identity)
    let trust = Lock(try await trustRoots(store))
    let link = link(
      HTTPClientConfiguration.ClientCertificate(
        certificateFile: identity.certificatePath, keyFile: identity.keyPath), trust: trust)
    let reconnect = { @Sendable () async throws(AgentFailure) in
      let roots = try await trustRoots(store)
      trust.withLock { $0 = roots }
      link.reconnect()
    }
    let enrolment = Enrolment(store: store, link: link, clock: clock, logger: nodeLogger)
    let base = settings.ca
    let networks = try await OpenVSwitch(
      settings: settings.network, hypervisor: hypervisor, clock: clock,
      identity: { () async throws(AgentFailure) in
        SouthboundIdentity(
          node: identity.id, certificate: identity.certificatePath, key: identity.keyPath,
          authorities: try await store.authorities(base: base))
      }, logger: nodeLogger)
    let performer = EffectPerformer(
      hypervisor: hypervisor, storage: storage,
      journal: try await FileJournal.open(settings.data + "/journal.jsonl"), link: link, clock: clock,
      networks: networks,
      platform: { () async throws(AgentFailure) in
        let now = try await reporter.report()
        return DomainPlatform(
          architecture: now.architecture, accelerator: now.accelerator, directIO: directIO,
          datapath: networks.guestDatapath, ceph: clusters)
      },
      nodeReport: { () async throws(AgentFailure) in
        var report = try await reporter.report()
        report.trust = try await store.trusted()
        return report
      },
      refreshFacts: { () async throws(AgentFailure) in
        if try await reporter.refresh() { nodeLogger.notice("the host is not what it was; the control plane is told") }
      },
      renewIdentity: { () async throws(AgentFailure) in
        let validity = try await enrolment.renew(name: name)
        try await reconnect()
        return validity
      },
      adoptTrust: { trust async throws(AgentFailure) in
        try await store.keep(trust)
        try await reconnect()
        nodeLogger.notice("the control plane's authorities have changed; they are trusted from now on")
      }, logger: nodeLogger)
    var options = AgentMachine.Options()
    options.parallelSteps = settings.parallel
    let machine = AgentMachine(
      options: options, now: clock.now(), seed: .random(in: .min ... .max), identity: identity.validity)
    await withDiscardingTaskGroup { group in
      group.addTask { await networks.run() }
      await Agent(machine: machine, performer: performer).run()
      group.cancelAll()
    }
  }

  private func logger(of identity: NodeIdentity) -> Logger {
    var logger = logger
    logger[metadataKey: "node"] = "\(identity.id)"
    return logger
  }

  /// libvirt may start after the agent.
  private func firstReport(_ reporter: NodeReporter, _ clock: SystemClock) async throws -> NodeReport {
    while true {
      do throws(AgentFailure) {
        try await reporter.refresh()
        return try await reporter.report()
      } catch {
        logger.warning("waiting for libvirt", metadata: ["failure": "\(error)"])
      }
      try await clock.sleep(until: clock.now().uptime + 1000)
    }
  }

  private func openStorage() async throws -> DirectoryStorage {
    // The reserve depends on the size, which only the opened directory tells.
    let probe = try await DirectoryStorage.open(settings.data, logger: logger)
    let options = DirectoryStorage.Options(
      reserve: HostFacts.reservedDiskBytes(settings.capacity, total: try await probe.space().total),
      serialLogBytes: settings.serialLogKib << 10, pools: settings.pools,
      clusters: settings.clusters)
    return try await DirectoryStorage.open(settings.data, options: options, logger: logger)
  }

  private func identify(
    _ store: IdentityStore, _ clock: SystemClock, name: String, report: NodeReport
  ) async throws -> NodeIdentity {
    let enrolment = Enrolment(
      store: store, link: link(nil, trust: Lock(try await trustRoots(store))), clock: clock, logger: logger)
    return try await enrolment.identify(name: name, token: settings.joinToken, report: report)
  }

  /// Whose certificates the control plane's replicas may have. The system's authorities are not ours to add to: whoever has a
  /// certificate of theirs does not depend on Aloft's.
  private func trustRoots(_ store: IdentityStore) async throws(AgentFailure) -> HTTPClientConfiguration.TrustRoots {
    guard let base = settings.ca else { return .system }
    return .file(try await store.trustFile(base: base))
  }

  /// - Parameter trust: is looked at with each new connection.
  private func link(
    _ certificate: HTTPClientConfiguration.ClientCertificate?, trust: Lock<HTTPClientConfiguration.TrustRoots>
  ) -> HTTPControlPlaneLink {
    let (version, logger) = (version, logger)
    return HTTPControlPlaneLink(
      urls: settings.urls,
      client: {
        let configuration = HTTPClientConfiguration(
          trustRoots: trust.withLock { $0 }, clientCertificate: certificate, userAgent: "aloft-agent/\(version)")
        return HTTPClient(configuration: configuration, logger: logger)
      }, logger: logger)
  }
}
