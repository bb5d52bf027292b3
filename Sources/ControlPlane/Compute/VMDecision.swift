import AloftModel
import Foundation

/// What to do about a VM now. The reconciler performs it in one transaction.
struct VMDecision: Sendable, Equatable {
  /// What changes about each open operation; those that stay as they are do not appear.
  var operations: [UUID: OperationOutcome] = [:]
  /// Nothing of the VM is left on any node: remove its rows.
  var purge = false
  /// NICs that were deleted and that the guest does not have any more: remove their rows.
  var removeNICs: [UUID] = []
  /// Volumes that the guest was to let go of and does not have any more: no VM has them now.
  var detachVolumes: [UUID] = []
  /// The guest turned itself off: the intent follows it, so that nobody starts it again.
  var followGuestPowerOff = false
  /// When to look again, if nothing happens before.
  var nextLook: Date?

  /// Invariants:
  /// - A VM is purged only when it was deleted and its agent has seen it gone, or when it has no node.
  /// - Every open operation ends: by success, by being overtaken, or at its deadline.
  /// - Delete overtakes everything; nothing overtakes delete.
  /// - A NIC's row, and with it its addresses, goes only when the guest does not have the NIC any more, and a volume is free for
  ///   others only then.
  static func of(_ facts: VMFacts, open: [OpenOperation], now: Date) -> VMDecision {
    var decision = VMDecision()
    decision.purge = isGone(facts)
    decision.followGuestPowerOff = guestTurnedItselfOff(facts)
    if !decision.purge {
      decision.removeNICs = facts.releasedNICs.sorted { $0.uuidString < $1.uuidString }
      if !facts.intent.deleted {
        decision.detachVolumes = facts.releasedDisks.sorted { $0.uuidString < $1.uuidString }
      }
    }
    for operation in open {
      let outcome = outcome(of: operation, facts, decision, now: now)
      if case .running(let waitingFor, let progress) = outcome {
        decision.nextLook = min(decision.nextLook ?? operation.deadline, operation.deadline)
        let same =
          operation.status == .running && operation.waitingFor == waitingFor && operation.progress == progress
        if same { continue }
      }
      decision.operations[operation.id] = outcome
    }
    return decision
  }

  /// The one-time requests of the operations that fail: they are taken back, or they would be carried out all the same.
  func withdrawn(of open: [OpenOperation]) -> [UUID] {
    open.compactMap { operation in
      guard case .failed = operations[operation.id] else { return nil }
      return operation.request
    }
  }

  private static func isGone(_ facts: VMFacts) -> Bool {
    guard facts.intent.deleted, facts.leavingDisks.isEmpty else { return false }
    guard facts.host != nil else { return true }
    guard let seen = facts.current else { return false }
    return seen.power == .absent && seen.generation >= facts.intent.generation
  }

  private static func guestTurnedItselfOff(_ facts: VMFacts) -> Bool {
    guard !facts.intent.deleted, facts.intent.desiredPower == .running, let seen = facts.current else { return false }
    return seen.guestStopped && seen.power == .stopped && seen.generation >= facts.intent.generation
  }

  private static func outcome(
    of operation: OpenOperation, _ facts: VMFacts, _ decision: VMDecision, now: Date
  ) -> OperationOutcome {
    if isDone(operation, facts, purge: decision.purge) { return .succeeded }
    if let overtakenBy = overtaking(operation, facts) {
      return .failed(.superseded, "overtaken by a later request to \(overtakenBy)")
    }
    if decision.followGuestPowerOff, operation.kind == .rebootVM {
      // The intent becomes `stopped` with this very decision, and nobody asked for that.
      return .failed(.superseded, "the guest turned itself off before it was rebooted")
    }
    let state = VMDerivedState.of(facts)
    if facts.host == nil && operation.kind != .deleteVM {
      return .failed(.nodeRemoved, "its node was removed")
    }
    if operation.kind == .startVM, let problem = facts.current?.problem, problem.isAboutMemory,
      facts.current?.generation ?? 0 >= operation.generation
    {
      return .failed(problem.code, problem.detail)
    }
    if now >= operation.deadline {
      let problem = operation.kind == .stopVM ? facts.current?.problem : facts.current?.obstacle
      let waited = state.reason ?? "the node to report"
      return .failed(problem?.code ?? .deadlineExceeded, problem?.detail ?? "gave up waiting: \(waited)")
    }
    return .running(waitingFor: state.reason, progress: facts.current?.progress)
  }

  private static func isDone(_ operation: OpenOperation, _ facts: VMFacts, purge: Bool) -> Bool {
    if operation.kind == .deleteVM { return purge }
    guard let seen = facts.current, seen.generation >= operation.generation else { return false }
    switch operation.kind {
    case .createVM:
      if seen.guestStopped { return true }
      return facts.intent.desiredPower == .running ? seen.power == .running : isOff(seen)
    case .startVM: return seen.power == .running || seen.guestStopped
    case .stopVM: return isOff(seen)
    case .rebootVM: return operation.request.map { !facts.pendingRequests.contains($0) } ?? true
    case .attachNIC, .detachNIC: return facts.agreesOnNICs
    case .attachVolume, .detachVolume: return facts.agreesOnDisks
    case .limitVolume: return facts.agreesOnLimits
    case .deleteVM, .deleteProject, .createVolume, .growVolume, .deleteVolume, .createSnapshot, .revertSnapshot,
      .deleteSnapshot, .fetchImage, .captureImage, .restoreVolume, .moveVolume, .createBackup,
      .verifyBackup:
      return purge
    }
  }

  /// A guest that crashed is off too, once it is meant to be.
  private static func isOff(_ seen: VMObserved) -> Bool { seen.power == .stopped || seen.power == .crashed }

  /// What later request makes it impossible for the operation to end as it was meant.
  private static func overtaking(_ operation: OpenOperation, _ facts: VMFacts) -> String? {
    if operation.kind == .deleteVM { return nil }
    if facts.intent.deleted { return "delete it" }
    switch (operation.kind, facts.intent.desiredPower) {
    case (.startVM, .stopped), (.rebootVM, .stopped): return "stop it"
    case (.stopVM, .running): return "start it"
    default: return nil
    }
  }
}

extension Observation.Problem {
  /// The guest's memory does not load: nobody has to wait for it.
  fileprivate var isAboutMemory: Bool { code == .memoryMismatch || code == .memoryUnusable }
}
