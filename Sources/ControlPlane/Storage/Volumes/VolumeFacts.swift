import AloftModel
import Foundation

/// What was asked for: the part of a volume's row that rules look at.
struct VolumeIntent: Sendable, Equatable {
  var deleted: Bool
  var generation: Int
  var sizeGiB: Int
  /// The VM that has it; nil: none.
  var vm: String?
  /// Counts how often it was put back or restored.
  var epoch = 0
  /// A backup is to be its first content, or that of its newest epoch, and is not yet.
  var isMadeOfBackup = false
  var isRestored = false
}

/// What the volume's agent saw last.
struct VolumeObserved: Sendable, Equatable {
  var generation: Int
  var state: VolumeObservation.State
  var sizeBytes: Int?
  var usedBytes: Int?
  var activity: String?
  var bytesDone: Int?
  var bytesTotal: Int?
  var problem: Observation.Problem?
  var epoch = 0
  var snapshots: Set<UUID> = []
  /// The pool that it is in, of one that is being moved, if it is in one only.
  var pool: String?

  /// Per cent of what is being copied.
  var progress: Int? {
    guard let bytesDone, let bytesTotal, bytesTotal > 0 else { return nil }
    return Int(min(1, Double(bytesDone) / Double(bytesTotal)) * 100)
  }
}

/// Everything that the rules about a volume look at.
struct VolumeFacts: Sendable, Equatable {
  var intent: VolumeIntent
  /// Nil before the first report.
  var observed: VolumeObserved?
  /// Whose agent has its document. Nil when that node was removed: with the content, unless nodes share the pool.
  var host: VMHost?
  /// It is in a pool that nodes share.
  var isShared = false
  /// The node that is to have its document next; nil: it stays.
  var next: String?
  /// The pool that it is in.
  var pool = ""
  /// Nil: it stays there.
  var move: VolumeMove?

  /// It has been there: what is reported of it later says nothing about its making.
  var wasMade: Bool { observed?.state == .ready || observed?.state == .released }

  /// Its content went with its node.
  var isLost: Bool { host == nil && !isShared }

  /// The agent has worked to the newest document and the volume is as that wants it.
  func agrees(on generation: Int) -> Bool {
    guard let seen = observed, seen.generation >= generation, seen.state == .ready else { return false }
    return (seen.sizeBytes ?? 0) >= intent.sizeGiB << 30
  }

  /// The same, and the content is of the newest epoch.
  func isRestored(on generation: Int) -> Bool { agrees(on: generation) && (observed?.epoch ?? 0) >= intent.epoch }
}

/// A volume's state as users see it, with the reason for it or what it waits for.
struct VolumeDerivedState: Sendable, Equatable {
  var state: VolumeState
  var reason: String?

  /// The one total function from what was asked for and what was seen to what users see.
  static func of(_ facts: VolumeFacts) -> VolumeDerivedState {
    guard let host = facts.host else {
      let waiting = facts.isShared ? "waiting for a node that reaches its pool" : nil
      if facts.intent.deleted { return VolumeDerivedState(state: .deleting, reason: waiting) }
      if let waiting { return VolumeDerivedState(state: .unknown, reason: waiting) }
      return VolumeDerivedState(state: .failed, reason: "its node was removed, and its content with it; delete it")
    }
    let silence = host.alive ? nil : "node \(host.name) does not report"
    let seen = facts.observed
    let work = seen.flatMap { seen in
      seen.problem?.detail
        ?? seen.activity.map { activity in seen.progress.map { "\(activity) (\($0) %)" } ?? activity }
    }
    if facts.intent.deleted { return VolumeDerivedState(state: .deleting, reason: silence ?? work) }
    if let silence { return VolumeDerivedState(state: .unknown, reason: silence) }
    let moving = facts.next.map { "node \(host.name) hands it over to \($0)" } ?? facts.move?.reason
    guard let seen, facts.wasMade else {
      return VolumeDerivedState(
        state: seen?.problem == nil ? .creating : .failed, reason: work ?? "waiting for node \(host.name) to begin")
    }
    if seen.problem?.code == .volumeDamaged { return VolumeDerivedState(state: .failed, reason: work) }
    return VolumeDerivedState(state: facts.intent.vm == nil ? .available : .inUse, reason: work ?? moving)
  }
}
