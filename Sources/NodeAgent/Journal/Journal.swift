import AloftModel

/// What the journal knows of one VM.
public struct VMJournal: Sendable, Hashable {
  /// When the guest was first asked to power off.
  public struct Stop: Sendable, Hashable {
    public var incarnation: Int
    /// Milliseconds since 1970, by the host's clock.
    public var askedAt: Int

    public init(incarnation: Int, askedAt: Int) {
      self.incarnation = incarnation
      self.askedAt = askedAt
    }
  }

  /// Requests that were begun or done. One that was begun when the agent died counts as done: a second reboot is worse
  /// than none.
  public var requests: Set<VMRequestID>
  public var stop: Stop?

  public init(requests: Set<VMRequestID> = [], stop: Stop? = nil) {
    self.requests = requests
    self.stop = stop
  }

  public var isEmpty: Bool { requests.isEmpty && stop == nil }
}

/// One line of the journal.
public enum JournalRecord: Sendable, Hashable {
  case requestBegun(VMID, VMRequestID, at: Int)
  case requestDone(VMID, VMRequestID, at: Int)
  case stopAsked(VMID, VMJournal.Stop)
  case stopForgotten(VMID)
  /// The VM is gone.
  case vmForgotten(VMID)
}

/// What must survive the agent and is in no other place. A record is durable before its effect happens.
public protocol Journal: Sendable {
  /// What is known of `vm`.
  func view(of vm: VMID) async -> VMJournal
  /// Makes a record durable.
  func append(_ record: JournalRecord) async throws(AgentFailure)
  /// May drop requests that are not in `listed` and older than `before` (milliseconds since 1970).
  func compact(keeping listed: Set<VMRequestID>, before: Int) async throws(AgentFailure)
}

/// The state that a sequence of records leads to; the same for every journal.
public struct JournalState: Sendable, Equatable {
  struct VMState: Sendable, Equatable {
    var requests: [VMRequestID: Int] = [:]
    var stop: VMJournal.Stop?
  }

  var vms: [VMID: VMState] = [:]

  public init() {}

  public mutating func apply(_ record: JournalRecord) {
    switch record {
    case .requestBegun(let vm, let request, let at), .requestDone(let vm, let request, let at):
      vms[vm, default: VMState()].requests[request] = at
    case .stopAsked(let vm, let stop): vms[vm, default: VMState()].stop = stop
    case .stopForgotten(let vm):
      vms[vm]?.stop = nil
      if vms[vm]?.requests.isEmpty == true { vms[vm] = nil }
    case .vmForgotten(let vm): vms[vm] = nil
    }
  }

  public func view(of vm: VMID) -> VMJournal {
    guard let state = vms[vm] else { return VMJournal() }
    return VMJournal(requests: Set(state.requests.keys), stop: state.stop)
  }

  public mutating func drop(keeping listed: Set<VMRequestID>, before: Int) {
    for (vm, state) in vms {
      var state = state
      state.requests = state.requests.filter { listed.contains($0.key) || $0.value >= before }
      vms[vm] = state.requests.isEmpty && state.stop == nil ? nil : state
    }
  }

  /// The VMs of which there is a record.
  public var known: Set<VMID> { Set(vms.keys) }

  /// The shortest sequence of records that leads to this state.
  var records: [JournalRecord] {
    vms.sorted { $0.key.description < $1.key.description }.flatMap { vm, state in
      state.requests.sorted { $0.key.description < $1.key.description }.map {
        JournalRecord.requestDone(vm, $0.key, at: $0.value)
      } + (state.stop.map { [.stopAsked(vm, $0)] } ?? [])
    }
  }
}
