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
    case .inspect(let document):
      let result = await attempt { () async throws(AgentFailure) in try await inspect(document) }
      if let failure = result.failure, failure.kind == .hypervisorUnavailable, await isUntouched(document) {
        return .untouched(document.vm, failure)
      }
      return .inspected(document.vm, result)
    case .perform(let step, let document):
      return .performed(document.vm, step, await carryOut(step, document))
    case .fetchImage(let image):
      return .imageFetched(sha256: image.sha256, await fetch(image, emit))
    case .poll(let number, let after, let wait):
      let answer = await attempt { () async throws(AgentFailure) in
        try await link.assignments(after: after, waitSeconds: wait)
      }
      log(answer, "the control plane cannot be asked for documents")
      return .polled(number: number, answer)
    case .report(let number, let observations):
      let answer = await attempt { () async throws(AgentFailure) in
        try await link.post(ObservationReport(observations: observations))
      }
      log(answer, "observations could not be reported")
      if case .success(let lease) = answer, !lease.unknownVms.isEmpty {
        logger.warning(
          "the control plane does not know some machines; they are left alone",
          metadata: ["vms": "\(lease.unknownVms)"])
      }
      return .reported(number: number, answer)
    case .heartbeat:
      let answer = await attempt { () async throws(AgentFailure) in
        var report = try await nodeReport()
        report.networking = await networks.report()
        let answer = try await link.report(report)
        if let fabric = answer.fabric { await networks.join(fabric) }
        if let trust = answer.trust { try await adoptTrust(trust) }
        return answer
      }
      log(answer, "the node could not be reported")
      return .heartbeatAnswered(answer)
    case .readFacts:
      let result = await attempt(refreshFacts)
      log(result, "the host could not be looked at")
      return .factsRead(result.failure)
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
    case .tidy(let listed):
      let result = await attempt { () async throws(AgentFailure) in
        try await storage.boundSerialLogs()
        try await journal.compact(keeping: listed, before: clock.now().wall - Self.requestMemory)
      }
      log(result, "tidying failed")
      return nil
    }
  }

  private func attempt<Value: Sendable>(
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
    guard let files = try? await storage.files(of: document.vm, image: document.image) else { return false }
    let journal = await journal.view(of: document.vm)
    return !files.any && journal.isEmpty
  }

  private func inspect(_ document: Assignment) async throws(AgentFailure) -> Inspection {
    let domain = try await hypervisor.domain(document.vm)
    let files = try await storage.files(of: document.vm, image: document.image)
    let journal = await journal.view(of: document.vm)
    let digest = DomainSpecification.digest(
      document, paths: storage.paths(of: document.vm), platform: try await platform())
    var actual = ActualVM(domain: domain, files: files, journal: journal)
    if let domain, domain.power.isActive, let wanted = document.nics {
      actual.nics = try await hypervisor.nics(of: document.vm)
      // Why it stands still may be forgotten by a libvirtd that has restarted.
      if domain.power == .paused(.asked) || domain.power == .paused(.other) {
        actual.missingPorts = await networks.missingPorts(
          of: actual.nics.map(\.id).filter { nic in wanted.contains { $0.id == nic } })
      }
    }
    return Inspection(actual: actual, digest: digest)
  }

  private func fetch(
    _ image: Assignment.BaseImage, _ emit: @escaping @Sendable (AgentEvent) -> Void
  ) async -> AgentFailure? {
    let link = link
    let source: ImageSource = { image, descriptor, onBytes, progress throws(AgentFailure) in
      try await link.download(image, to: descriptor, onBytes: onBytes, progress: progress)
    }
    do throws(AgentFailure) {
      try await storage.fetch(image, from: source) {
        emit(.imageProgress(sha256: image.sha256, bytes: $0))
      }
      return nil
    } catch {
      logger.warning(
        "image not fetched", metadata: ["image": "\(image.id)", "failure": "\(error)"])
      return error
    }
  }
}
