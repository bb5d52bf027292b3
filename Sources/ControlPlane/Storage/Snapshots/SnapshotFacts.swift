import AloftModel
import Foundation

/// Everything that the rules about a snapshot look at.
struct SnapshotFacts: Sendable, Equatable {
  /// One volume of which it is.
  struct Member: Sendable, Equatable {
    /// The volume's agent has reported it once.
    var isTaken: Bool
    /// The agent has it, as far as is known.
    var isThere: Bool
    /// The agent has worked to the volume's newest document.
    var isCurrent: Bool
    /// The volume's content is of the newest epoch.
    var isReverted: Bool
    /// The volume's node; nil when that was removed.
    var host: VMHost?
    /// The volume is in a pool that nodes share: another one gets it.
    var isShared = false
    /// What the agent does with the volume, or what keeps it.
    var activity: String?
    /// How much of it, in per cent.
    var progress: Int?
    var problem: Observation.Problem?

    /// The volume's content went with its node.
    var isLost: Bool { host == nil && !isShared }
  }

  var deleted: Bool
  var members: [Member]
  /// Whether what the guest's memory held is there; nil: it does not belong to it.
  var hasMemory: Bool?

  var isTaken: Bool { members.allSatisfy(\.isTaken) }

  /// What its volumes held is there, and memory that belongs to it is not: its agent knows nothing of that.
  var lacksMemory: Bool { isTaken && hasMemory == false }

  /// Memory that was to be kept is lost.
  private var memoryProblem: Observation.Problem? {
    if lacksMemory {
      return Observation.Problem(
        code: .memoryUnsaved, detail: "the node's agent is of a version that keeps no memory of guests; upgrade it")
    }
    // What is told of an earlier document may be about another snapshot.
    return members.lazy.filter(\.isCurrent).compactMap(\.problem).first { $0.code == .memoryUnsaved }
  }

  /// Why it cannot be taken any more.
  var obstacle: Observation.Problem? { isTaken && !lacksMemory ? nil : memoryProblem }

  /// Nothing of it is left on any node.
  var isGone: Bool { members.allSatisfy { $0.isLost || $0.isCurrent && !$0.isThere } }

  /// What is waited for, for people who wait.
  var reason: String? {
    for member in members {
      if member.isLost { return "a volume's node was removed, and its content with it" }
      guard let host = member.host else { return "waiting for a node that reaches a volume's pool" }
      if !host.alive { return "node \(host.name) does not report" }
    }
    return members.lazy.compactMap { $0.problem?.detail }.first ?? members.lazy.compactMap(\.activity).first
  }

  var state: SnapshotState {
    if deleted { return .deleting }
    if isTaken {
      return lacksMemory || members.contains { $0.isLost || $0.isCurrent && !$0.isThere } ? .failed : .available
    }
    return members.contains { $0.problem != nil } ? .failed : .creating
  }
}

/// What to do about a snapshot now. The reconciler performs it in one transaction.
struct SnapshotDecision: Sendable, Equatable {
  /// What changes about each open operation; those that stay as they are do not appear.
  var operations: [UUID: OperationOutcome] = [:]
  /// Nothing of it is left on any node, or none of its volumes: remove its rows.
  var purge = false
  /// It was not taken in time: it must not be taken later.
  var withdraw = false
  /// When to look again, if nothing happens before.
  var nextLook: Date?

  /// Invariants:
  /// - A snapshot is of one instant: it is there when all its volumes have it, and what was not taken in time is taken back.
  /// - Every open operation ends: by success, by being overtaken, or at its deadline.
  static func of(_ facts: SnapshotFacts, open: [OpenOperation], now: Date) -> SnapshotDecision {
    var decision = SnapshotDecision()
    decision.purge = facts.members.isEmpty || facts.deleted && facts.isGone
    for operation in open {
      let outcome = outcome(of: operation, facts, purge: decision.purge, now: now)
      if case .failed = outcome, operation.kind == .createSnapshot, !facts.deleted, !decision.purge {
        decision.withdraw = true
      }
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

  private static func outcome(
    of operation: OpenOperation, _ facts: SnapshotFacts, purge: Bool, now: Date
  ) -> OperationOutcome {
    if facts.members.isEmpty && operation.kind != .deleteSnapshot {
      return .failed(.superseded, "overtaken by the deletion of its volumes")
    }
    let isDone =
      switch operation.kind {
      case .deleteSnapshot: purge
      case .revertSnapshot: facts.members.allSatisfy { $0.isCurrent && $0.isReverted }
      default: facts.isTaken && !facts.lacksMemory
      }
    if isDone { return .succeeded }
    if facts.deleted && operation.kind != .deleteSnapshot {
      return .failed(.superseded, "overtaken by a later request to delete it")
    }
    if facts.members.contains(where: \.isLost) { return .failed(.nodeRemoved, "a volume's node was removed") }
    if operation.kind == .createSnapshot, let obstacle = facts.obstacle {
      return .failed(obstacle.code, obstacle.detail)
    }
    if now >= operation.deadline {
      let problem = facts.members.lazy.compactMap(\.problem).first
      return .failed(
        problem?.code ?? .deadlineExceeded,
        problem?.detail ?? "gave up waiting: \(facts.reason ?? "the node to report")")
    }
    return .running(waitingFor: facts.reason, progress: facts.members.lazy.compactMap(\.progress).first)
  }
}
