import AloftModel
import Foundation

/// What to do about a volume now. The reconciler performs it in one transaction.
struct VolumeDecision: Sendable, Equatable {
  /// What changes about each open operation; those that stay as they are do not appear.
  var operations: [UUID: OperationOutcome] = [:]
  /// Nothing of the volume is left on any node: remove its rows.
  var purge = false
  /// Another node is to have its document now.
  var handOver: HandOver?
  /// What it was to be restored from did not come to it in time, or is damaged: it is to stay as it is, or to go if it was not made yet.
  var giveUpRestoring = false
  /// How a move to another pool has ended; nil: there is none, or it goes on.
  var moveEnd: VolumeMove.End?
  /// Why a move is to be given up.
  var giveUpMove: Observation.Problem?
  /// When to look again, if nothing happens before.
  var nextLook: Date?

  /// Invariants:
  /// - A volume is purged only when it was deleted and its agent has seen it gone, or when it has no node.
  /// - Every open operation ends: by success, by being overtaken, or at its deadline.
  /// - Delete overtakes everything; nothing overtakes delete.
  /// - In a pool that nodes share another node gets the document when the one that has it has let go of the volume; or when that one was
  ///   removed or is down, and then only if no guest of its can have the volume, or an operator has vouched for it by removing the
  ///   node; it is cut off all the same.
  /// - A volume is in another pool when its agent says so; a move that was given up ends when the agent says that nothing is left of it.
  static func of(_ facts: VolumeFacts, open: [OpenOperation], now: Date) -> VolumeDecision {
    var decision = VolumeDecision()
    decision.purge = isGone(facts)
    decision.handOver = decision.purge ? nil : handOver(facts)
    if facts.isShared, facts.host == nil || facts.next != nil || facts.intent.deleted {
      decision.nextLook = now.addingTimeInterval(patience)
    }
    decision.moveEnd = VolumeMove.end(facts)
    for operation in open {
      if operation.kind == .moveVolume {
        decision.giveUpMove = VolumeMove.givingUp(facts, operation, now: now)
        decision.nextLook = min(decision.nextLook ?? .distantFuture, VolumeMove.nextLook(operation, now: now))
      }
      let outcome = outcome(of: operation, facts, purge: decision.purge, now: now)
      if case .failed = outcome, !facts.intent.deleted {
        let isMaking = operation.kind == .createVolume && facts.intent.isMadeOfBackup
        if isMaking || operation.kind == .restoreVolume { decision.giveUpRestoring = true }
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

  /// How an other node comes to have a volume.
  struct HandOver: Sendable, Equatable {
    /// The node that is to have it, or any that reaches its pool.
    var isAnywhere: Bool
    /// Nobody has let go of it.
    var fence: Bool
  }

  /// How long it takes at most until it is seen that a node that was to let go of a volume has died, in seconds.
  private static let patience = 5.0

  private static func handOver(_ facts: VolumeFacts) -> HandOver? {
    guard facts.isShared else { return nil }
    let wantsNext = facts.next != nil && !facts.intent.deleted
    guard let host = facts.host else { return HandOver(isAnywhere: !wantsNext, fence: true) }
    if wantsNext {
      if let seen = facts.observed, seen.state == .released, seen.generation >= facts.intent.generation {
        return HandOver(isAnywhere: false, fence: false)
      }
      return host.alive ? nil : HandOver(isAnywhere: false, fence: true)
    }
    // Of a VM that is being deleted: its node has to end the guest first.
    let isFree = facts.intent.deleted && facts.intent.vm == nil
    return isFree && !host.alive ? HandOver(isAnywhere: true, fence: true) : nil
  }

  private static func isGone(_ facts: VolumeFacts) -> Bool {
    guard facts.intent.deleted else { return false }
    guard facts.host != nil else { return !facts.isShared }
    guard let seen = facts.observed else { return false }
    return seen.state == .absent && seen.generation >= facts.intent.generation
  }

  private static func outcome(
    of operation: OpenOperation, _ facts: VolumeFacts, purge: Bool, now: Date
  ) -> OperationOutcome {
    let isDeletion = operation.kind == .deleteVolume
    if operation.kind == .moveVolume, !facts.intent.deleted, !facts.isLost {
      return VolumeMove.outcome(of: operation, facts, now: now)
        ?? .running(waitingFor: VolumeDerivedState.of(facts).reason, progress: facts.observed?.progress)
    }
    let isDone =
      switch operation.kind {
      case .deleteVolume: purge
      case .restoreVolume: facts.isRestored(on: operation.generation)
      case .moveVolume: false
      default: facts.agrees(on: operation.generation)
      }
    if isDone { return .succeeded }
    if facts.intent.deleted && !isDeletion {
      return .failed(.superseded, "overtaken by a later request to delete it")
    }
    if facts.isLost { return .failed(.nodeRemoved, "its node was removed") }
    let reason = VolumeDerivedState.of(facts).reason
    // What is damaged does not mend itself.
    if let problem = facts.observed?.problem, problem.code == .backupDamaged,
      operation.kind == .createVolume || operation.kind == .restoreVolume,
      facts.observed?.generation ?? 0 >= operation.generation
    {
      return .failed(.backupDamaged, problem.detail)
    }
    if now >= operation.deadline {
      let problem = facts.observed?.problem
      return .failed(
        problem?.code ?? .deadlineExceeded, problem?.detail ?? "gave up waiting: \(reason ?? "the node to report")")
    }
    return .running(waitingFor: reason, progress: facts.observed?.progress)
  }
}
