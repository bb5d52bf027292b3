import AloftModel
import Logging

/// Carries out what an ``AgentMachine`` wants, on the real things or on simulated ones. It keeps no state of its own.
public struct EffectPerformer: Sendable {
  public var hypervisor: any Hypervisor
  public var storage: any NodeStorage
  public var journal: any Journal
  public var link: any ControlPlaneLink
  public var clock: any AgentClock
  public var networks: any NodeNetworks
  /// What domains are defined for.
  public var platform: @Sendable () async throws(AgentFailure) -> DomainPlatform
  /// What the host is, as it was found last.
  public var nodeReport: @Sendable () async throws(AgentFailure) -> NodeReport
  /// Finds out what the host is now.
  public var refreshFacts: @Sendable () async throws(AgentFailure) -> Void
  /// Renews the client certificate.
  public var renewIdentity: @Sendable () async throws(AgentFailure) -> CertificateValidity
  /// Trusts from now on whom the control plane names.
  public var adoptTrust: @Sendable (TrustAnchors) async throws(AgentFailure) -> Void
  public var logger: Logger

  public init(
    hypervisor: any Hypervisor, storage: any NodeStorage, journal: any Journal,
    link: any ControlPlaneLink,
    clock: any AgentClock, networks: any NodeNetworks = NoNetworks(),
    platform: @escaping @Sendable () async throws(AgentFailure) -> DomainPlatform,
    nodeReport: @escaping @Sendable () async throws(AgentFailure) -> NodeReport,
    refreshFacts: @escaping @Sendable () async throws(AgentFailure) -> Void = { () async throws(AgentFailure) in },
    renewIdentity: @escaping @Sendable () async throws(AgentFailure) -> CertificateValidity,
    adoptTrust: @escaping @Sendable (TrustAnchors) async throws(AgentFailure) -> Void = {
      (_) async throws(AgentFailure) in
    },
    logger: Logger
  ) {
    self.hypervisor = hypervisor
    self.storage = storage
    self.journal = journal
    self.link = link
    self.clock = clock
    self.networks = networks
    self.platform = platform
    self.nodeReport = nodeReport
    self.refreshFacts = refreshFacts
    self.renewIdentity = renewIdentity
    self.adoptTrust = adoptTrust
    self.logger = logger
  }

  /// How long a request that is done is remembered though no document lists it any more, in milliseconds.
  private static let requestMemory = 30 * 24 * 3_600_000

  /// Carries out one effect and returns what happened. `emit` gets what happens meanwhile.
  public func perform(
    _ effect: AgentEffect, emit: @escaping @Sendable (AgentEvent) -> Void
  ) async -> AgentEvent? {
    switch effect {
    case .listDomains:
      return .listed(
        await attempt { () async throws(AgentFailure) in try await hypervisor.domains() })
    case .inspect(let document, let volumes):
      let result = await attempt { () async throws(AgentFailure) in try await inspect(document, volumes) }
      if let failure = result.failure, failure.kind == .hypervisorUnavailable, await isUntouched(document) {
        return .untouched(document.vm, failure)
      }
      return .inspected(document.vm, result)
    case .stopCopy(let volume, let pool):
      await storage.pool(pool)?.stopCopy(of: volume)
      return nil
    case .perform(let step, let document, let volumes):
      return .performed(document.vm, step, await carryOut(step, document, volumes))
    case .inspectVolume(let document):
      return .volumeInspected(
        document.volume, await attempt { () async throws(AgentFailure) in try await inspect(document) })
    case .performVolume(let step, let document, let all):
      return .volumePerformed(document.volume, step, await carryOut(step, document, all, emit))
    case .fetchImage(let image, let pool):
      return .imageFetched(sha256: image.sha256, pool: pool, await fetch(image, pool, emit))
    case .export(let export, let volume, let pool):
      return .exported(export.image, await send(export, of: volume, in: pool))
    case .backUp(let backup, let volume, let pool, let key):
      return .backedUp(backup.backup, await backUp(backup, of: volume, in: pool, key: key))
    case .poll(let number, let after, let wait):
      let answer = await attempt { () async throws(AgentFailure) in
        try await link.assignments(after: after, waitSeconds: wait)
      }
      log(answer, "the control plane cannot be asked for documents")
      return .polled(number: number, answer)
    case .report(let number, let observations, let volumes):
      let answer = await attempt { () async throws(AgentFailure) in
        try await link.post(ObservationReport(observations: observations, volumes: volumes))
      }
      log(answer, "observations could not be reported")
      if case .success(let lease) = answer, !lease.unknownVms.isEmpty {
        logger.warning(
          "the control plane does not know some machines; they are left alone",
          metadata: ["vms": "\(lease.unknownVms)"])
      }
      return .reported(number: number, answer)
    case .heartbeat(let orphans):
      let answer = await attempt { () async throws(AgentFailure) in
        var report = try await nodeReport()
        report.networking = await networks.report()
        report.pools = await storage.pools()
        report.orphans = orphans
        let answer = try await link.report(report)
        await networks.join(answer.fabric)
        if let trust = answer.trust { try await adoptTrust(trust) }
        return answer
      }
      log(answer, "the node could not be reported")
      return .heartbeatAnswered(answer)
    case .readFacts:
      let result = await attempt(refreshFacts)
      log(result, "the host could not be looked at")
      return .factsRead(result.failure)
    case .readContents:
      let result = await attempt { () async throws(AgentFailure) in try await contents() }
      log(result, "what is kept on the node could not be looked at")
      return .contentsRead(result)
    case .renewIdentity:
      let result = await attempt(renewIdentity)
      log(result, "the client certificate could not be renewed")
      return .renewed(result)
    case .connect(let number, let documents):
      await networks.serve(documents, number: number)
      return nil
    case .serve(let stream):
      await serve(stream)
      return nil
    case .tidy(let listed, let images, let exports):
      let result = await attempt { () async throws(AgentFailure) in
        for pool in await storage.pools() {
          guard let backend = storage.pool(pool.name) else { continue }
          try await backend.removeImages(but: images, uptime: clock.now().uptime)
          try await backend.removeExports(but: exports)
        }
        try await storage.boundSerialLogs()
        try await journal.compact(keeping: listed, before: clock.now().wall - Self.requestMemory)
      }
      log(result, "tidying failed")
      return nil
    }
  }

  func attempt<Value: Sendable>(
    _ body: () async throws(AgentFailure) -> Value
  ) async -> Result<Value, AgentFailure> {
    do throws(AgentFailure) { return .success(try await body()) } catch { return .failure(error) }
  }

  private func log(_ result: Result<some Any, AgentFailure>, _ what: Logger.Message) {
    if case .failure(let failure) = result {
      logger.warning(what, metadata: ["failure": "\(failure)"])
    }
  }

  private func isUntouched(_ document: Assignment) async -> Bool {
    guard let files = try? await storage.files(of: document.vm) else { return false }
    let journal = await journal.view(of: document.vm)
    return !files.any && journal.isEmpty
  }

  private func inspect(
    _ document: Assignment, _ volumes: [VolumeAssignment]
  ) async throws(AgentFailure) -> Inspection {
    let domain = try await hypervisor.domain(document.vm)
    let files = try await storage.files(of: document.vm)
    let journal = await journal.view(of: document.vm)
    let digest = DomainSpecification.digest(
      document, paths: storage.paths(of: document.vm), platform: try await platform())
    var actual = ActualVM(domain: domain, files: files, journal: journal)
    if let domain, domain.power.isActive { actual.disks = try await hypervisor.disks(of: document.vm) }
    if let domain, domain.power.isActive, let wanted = document.nics {
      actual.nics = try await hypervisor.nics(of: document.vm)
      // Why it stands still may be forgotten by a libvirtd that has restarted.
      if domain.power == .paused(.asked) || domain.power == .paused(.other) {
        actual.missingPorts = await networks.missingPorts(
          of: actual.nics.map(\.id).filter { nic in wanted.contains { $0.id == nic } })
      }
    }
    var looks: [VolumeID: VolumeLook] = [:]
    for volume in await counting(volumes) {
      looks[volume.volume] = try await storage.pool(volume.pool)?.look(volume.volume)
    }
    return Inspection(actual: actual, digest: digest, volumes: looks)
  }

  private func fetch(
    _ image: Assignment.BaseImage, _ pool: String, _ emit: @escaping @Sendable (AgentEvent) -> Void
  ) async -> AgentFailure? {
    let link = link
    let source: ImageSource = { image, descriptor, onBytes, progress throws(AgentFailure) in
      try await link.download(image, to: descriptor, onBytes: onBytes, progress: progress)
    }
    do throws(AgentFailure) {
      try await self.pool(pool).fetch(image, from: source) {
        emit(.imageProgress(sha256: image.sha256, pool: pool, bytes: $0))
      }
      return nil
    } catch {
      logger.warning(
        "image not fetched", metadata: ["image": "\(image.id)", "failure": "\(error)"])
      return error
    }
  }
}
