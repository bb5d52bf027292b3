import AloftModel
import Libvirt
import Logging

/// QEMU through libvirt. libvirtd may be restarted or killed at any time: the next call opens a new connection, and
/// ``events()`` says that everything must be looked at again.
public actor LibvirtHypervisor: Hypervisor {
  private let uri: String
  private let options: Connection.Options
  let logger: Logger
  /// The clusters whose images guests may have.
  let ceph: [CephAccess]
  /// Where libvirtd keeps what opens the secrets of guests that run.
  let stateDirectory: String
  private var opening: Task<Result<Connection, LibvirtError>, Never>?
  private var connection: Connection?
  /// Whose QEMU was cleared of what an earlier libvirtd had left there, since libvirt was connected to; see ``clearRemains(of:knowing:)``.
  private var cleared: Set<VMID> = []
  /// Volumes that guests were asked for while QEMU had files open for them of which libvirt does not know.
  private var leaving: [VMID: Set<VolumeID>] = [:]

  /// Where libvirtd of a distribution keeps ``stateDirectory``.
  public static let usualStateDirectory = "/var/lib/libvirt/qemu"

  /// - Parameter parallelCalls: how many calls that take long may run at once.
  public init(
    uri: String, parallelCalls: Int = 4, ceph: [CephAccess] = [], stateDirectory: String = usualStateDirectory,
    logger: Logger
  ) {
    self.stateDirectory = stateDirectory
    self.uri = uri
    self.ceph = ceph
    self.logger = logger
    var options = Connection.Options()
    options.longCallThreads = parallelCalls
    self.options = options
  }

  private func connected() async throws(AgentFailure) -> Connection {
    if let connection, connection.closeReason == nil { return connection }
    connection = nil
    // Calls that come meanwhile wait for the same attempt.
    let attempt =
      opening
      ?? Task { [uri, options, logger] in
        do throws(LibvirtError) {
          let opened = try await Connection.open(uri, options: options, logger: logger)
          await opened.endForgottenGuests(logger: logger)
          return .success(opened)
        } catch { return .failure(error) }
      }
    opening = attempt
    let result = await attempt.value
    if opening == attempt { opening = nil }
    switch result {
    case .success(let opened):
      if connection == nil { (cleared, leaving) = ([], [:]) }
      connection = opened
      return opened
    case .failure(let error):
      throw AgentFailure(.hypervisorUnavailable, "libvirt at \(uri): \(error.message)")
    }
  }

  func isUncleared(_ vm: VMID) -> Bool { !cleared.contains(vm) }
  func noteCleared(_ vm: VMID) { cleared.insert(vm) }
  func noteLeaving(_ volume: VolumeID, _ vm: VMID) { leaving[vm, default: []].insert(volume) }

  /// Whether one of those has left, which is said once.
  func hasLeft(_ vm: VMID, having volumes: Set<VolumeID>) -> Bool {
    guard let asked = leaving[vm], !asked.isSubset(of: volumes) else { return false }
    let left = asked.intersection(volumes)
    leaving[vm] = left.isEmpty ? nil : left
    return true
  }

  /// Runs a call and says what its failure means for the agent.
  func call<Value: Sendable>(
    _ body: @Sendable (Connection) async throws(LibvirtError) -> Value
  ) async throws(AgentFailure) -> Value {
    let connection = try await connected()
    do throws(LibvirtError) { return try await body(connection) } catch {
      throw AgentFailure(error)
    }
  }

  func call<Value: Sendable>(
    _ vm: VMID, _ body: @Sendable (Domain) async throws(LibvirtError) -> Value
  ) async throws(AgentFailure) -> Value {
    try await call { connection throws(LibvirtError) in try await body(connection.domain(vm.uuid)) }
  }

  public func facts() async throws(AgentFailure) -> HypervisorFacts {
    try await call { connection throws(LibvirtError) in
      let capabilities = try await connection.capabilities()
      return HypervisorFacts(
        offersKVM: capabilities.hasKVM,
        facts: [
          "libvirt_version": try await connection.libvirtVersion().description,
          "qemu_version": try await connection.hypervisorVersion().description,
          "cpu_family": capabilities.cpuModel ?? "unknown",
        ])
    }
  }

  public func domains() async throws(AgentFailure) -> [VMDomain] {
    let summaries = try await call { connection throws(LibvirtError) in
      try await connection.domains(metadataNamespace: DomainMetadata.namespace)
    }
    return summaries.compactMap { summary in
      guard let metadata = summary.metadata, let tag = DomainTag(xml: metadata) else { return nil }
      return VMDomain(vm: VMID(summary.uuid), tag: tag, power: DomainPower(summary.state))
    }
  }

  public func domain(_ vm: VMID) async throws(AgentFailure) -> VMDomain? {
    let found = try await call(vm) { domain throws(LibvirtError) -> (DomainState, String?)? in
      do throws(LibvirtError) {
        return (
          try await domain.state(), try await domain.metadata(namespace: DomainMetadata.namespace)
        )
      } catch {
        if error.code == .noDomain { return nil }
        throw error
      }
    }
    guard let (state, metadata) = found else { return nil }
    guard let tag = metadata.flatMap(DomainTag.init(xml:)) else {
      // Its incarnation is unknown: whatever were done to it could be wrong.
      throw AgentFailure(
        .hypervisorRefused,
        "the domain of \(vm) has lost Aloft's <metadata>; define it with its metadata again, or undefine it"
      )
    }
    return VMDomain(vm: vm, tag: tag, power: DomainPower(state))
  }

  public func define(_ specification: DomainSpecification) async throws(AgentFailure) {
    let xml = specification.xml
    _ = try await call { connection throws(LibvirtError) in try await connection.define(xml) }
  }

  public func start(_ vm: VMID, held: Bool) async throws(AgentFailure) {
    await provideKeys()
    let used = try await call { connection throws(LibvirtError) in
      try await connection.domain(vm.uuid).start(held ? .paused : [])
      return connection
    }
    // Of what this libvirtd itself has started it has forgotten nothing.
    if used === connection { noteCleared(vm) }
  }

  public func resume(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in try await domain.resume() }
  }

  public func shutdown(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in try await domain.shutdown() }
  }

  public func destroy(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in
      do throws(LibvirtError) { try await domain.destroy() } catch {
        switch error.code {
        case .noDomain, .operationInvalid: return
        case .operationTimeout:
          // Another call about this domain hangs. Failing still is right: the next look tells what became of it.
          if await QEMUProcess.kill(uuid: vm.uuid) {
            logger.warning("libvirt cannot reach this machine; its QEMU was killed", metadata: ["vm": "\(vm)"])
            throw error
          }
          throw LibvirtError(
            error.code, domain: error.domain,
            message: """
              \(error.message), and no QEMU of it is found: if libvirtd died while it started the machine, the node's \
              operator has to run forget-unstarted-guests while libvirtd is stopped
              """)
        default: throw error
        }
      }
    }
  }

  public func reboot(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in try await domain.reboot() }
  }

  public func reset(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in try await domain.reset() }
  }

  public func undefine(_ vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in
      do throws(LibvirtError) { try await domain.undefine() } catch {
        guard error.code == .noDomain else { throw error }
      }
    }
  }

  public func setTag(_ tag: DomainTag, name: String, of vm: VMID) async throws(AgentFailure) {
    let element = tag.element(name: name, declaringNamespace: false).string
    try await call(vm) { domain throws(LibvirtError) in
      try await domain.setMetadata(
        element, namespace: DomainMetadata.namespace, prefix: DomainMetadata.prefix)
    }
  }

  public func events() -> AsyncStream<HypervisorEvent> {
    let (stream, continuation) = AsyncStream.makeStream(of: HypervisorEvent.self)
    let task = Task {
      while !Task.isCancelled {
        await forward(to: continuation)
        try? await Task.sleep(for: .milliseconds(500))
      }
      continuation.finish()
    }
    continuation.onTermination = { _ in task.cancel() }
    return stream
  }

  /// Passes events on until the connection ends.
  private func forward(to continuation: AsyncStream<HypervisorEvent>.Continuation) async {
    let events: AsyncStream<DomainEvent>
    do throws(AgentFailure) {
      events = try await call { connection throws(LibvirtError) in
        try await connection.domainEvents()
      }
    } catch { return logger.warning("libvirt is not there", metadata: ["failure": "\(error)"]) }
    logger.info("listening to libvirt", metadata: ["uri": "\(uri)"])
    continuation.yield(.resynchronize)
    for await event in events {
      let vm = VMID(event.uuid)
      // Other people's domains are none of Aloft's business.
      guard event.name == vm.description else { continue }
      continuation.yield(
        event.kind == .lifecycle(.shuttingDown(.host)) ? .endedByHost(vm) : .changed(vm))
    }
  }
}
