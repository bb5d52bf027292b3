import AloftModel
import Execution

/// What the node is, as it was found last. Hosts change under a running agent: disks fill with other things, libvirt and QEMU
/// are upgraded, memory is added.
public actor NodeReporter {
  private let settings: CapacitySettings
  private let version: String
  private let hypervisor: any Hypervisor
  private let storage: any NodeStorage
  private let readHost: @Sendable () async -> HostFacts
  private var hypervisorFacts: HypervisorFacts?
  private var found: (host: HostFacts, report: NodeReport)?

  /// Nothing is read yet; see ``refresh()``.
  public init(
    settings: CapacitySettings, version: String, hypervisor: any Hypervisor, storage: any NodeStorage,
    readHost: @escaping @Sendable () async -> HostFacts = HostFacts.read
  ) {
    self.settings = settings
    self.version = version
    self.hypervisor = hypervisor
    self.storage = storage
    self.readHost = readHost
  }

  /// Looks at the host again. While libvirt is away, what it said last holds; throws only if there is nothing to hold on to.
  /// Returns whether anything is new.
  @discardableResult
  public func refresh() async throws(AgentFailure) -> Bool {
    let host = await readHost()
    let space = try await storage.space()
    do throws(AgentFailure) { hypervisorFacts = try await hypervisor.facts() } catch {
      guard hypervisorFacts != nil else { throw error }
    }
    guard let hypervisorFacts else { return false }
    let report = host.report(settings, hypervisor: hypervisorFacts, space: space, version: version)
    defer { found = (host, report) }
    return found?.report != report
  }

  /// What the control plane is told. Throws `hypervisorUnavailable` before the first ``refresh()`` that succeeded.
  public func report() throws(AgentFailure) -> NodeReport {
    guard let found else { throw AgentFailure(.hypervisorUnavailable, "the host has not been looked at yet") }
    return found.report
  }

  /// The host's own name.
  public var hostname: String? { found?.host.hostname }
}
