import AloftModel
import Foundation

/// What was asked for: the part of a VM's row that rules look at.
struct VMIntent: Sendable, Equatable {
  var desiredPower: Power
  var deleted: Bool
  var incarnation: Int
  var generation: Int
}

/// What the VM's agent saw last.
struct VMObserved: Sendable, Equatable {
  var incarnation: Int
  var generation: Int
  var power: Observation.Power
  var guestStopped = false
  var activity: String?
  var progress: Int?
  var problem: Observation.Problem?
  /// The NICs that the guest has; nil where the agent does not tell.
  var nics: Set<UUID>?

  /// The problem, if it keeps the VM from its desired state. A guest that ignored the power button is off all the same.
  var obstacle: Observation.Problem? { problem?.code == .guestIgnored ? nil : problem }
}

/// The node that holds a VM's claim, as far as a VM's state depends on it.
struct VMHost: Sendable, Equatable {
  var name: String
  /// Its lease has not ended.
  var alive: Bool
}

/// Everything that the two rules about a VM look at.
struct VMFacts: Sendable, Equatable {
  var intent: VMIntent
  /// Nil before the first report, and after the VM has lost its node.
  var observed: VMObserved?
  /// Nil when it has no claim: its node was removed.
  var host: VMHost?
  /// One-time requests that no report has completed.
  var pendingRequests: Set<UUID> = []
  /// The NICs that the guest is to have.
  var nics: Set<UUID> = []
  /// NICs that were deleted, which the guest may have still.
  var leavingNICs: Set<UUID> = []

  /// The observation, unless it tells of an older incarnation.
  var current: VMObserved? {
    guard let observed, observed.incarnation >= intent.incarnation else { return nil }
    return observed
  }

  /// The agent has worked to the newest document, and the guest has the NICs that it is to have, or has none because it is off.
  var agreesOnNICs: Bool {
    guard let seen = current, seen.generation >= intent.generation else { return false }
    guard seen.power == .running || seen.power == .paused, let has = seen.nics else { return true }
    return has == nics
  }

  /// NICs that were deleted and that the guest has no more.
  var releasedNICs: Set<UUID> {
    if leavingNICs.isEmpty || host == nil { return leavingNICs }
    guard let seen = current, seen.generation >= intent.generation else { return [] }
    guard seen.power == .running || seen.power == .paused else { return leavingNICs }
    return leavingNICs.subtracting(seen.nics ?? [])
  }
}
