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
  /// The volumes that the guest has; nil where the agent does not tell.
  var disks: Set<UUID>?
  /// Those of them that are held to other I/O limits than those of the document.
  var staleDisks: Set<UUID> = []

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
  /// The volumes that the guest is to have.
  var disks: Set<UUID> = []
  /// Volumes that the guest is to let go of, and those that were deleted with it.
  var leavingDisks: Set<UUID> = []

  /// The observation, unless it tells of an older incarnation.
  var current: VMObserved? {
    guard let observed, observed.incarnation >= intent.incarnation else { return nil }
    return observed
  }

  /// The agent has worked to the newest document, and the guest has the NICs that it is to have, or has none because it is off.
  var agreesOnNICs: Bool {
    guard let seen = current, seen.generation >= intent.generation else { return false }
    guard seen.power == .running || seen.power == .paused else { return true }
    // Silence agrees where there was never anything to plug.
    guard let has = seen.nics else { return nics.isEmpty && leavingNICs.isEmpty }
    return has == nics
  }

  /// The same of volumes.
  var agreesOnDisks: Bool {
    guard let seen = current, seen.generation >= intent.generation else { return false }
    guard seen.power == .running || seen.power == .paused, let has = seen.disks else { return true }
    return has == disks
  }

  /// The agent has worked to the newest document, and the guest is held to the I/O limits that its volumes are to have, if it runs.
  var agreesOnLimits: Bool {
    guard let seen = current, seen.generation >= intent.generation else { return false }
    return seen.staleDisks.isEmpty
  }

  /// NICs that were deleted and that the guest has no more.
  var releasedNICs: Set<UUID> { released(leavingNICs, guest: current?.nics) }

  /// Volumes that the guest was to let go of and has no more.
  var releasedDisks: Set<UUID> { released(leavingDisks, guest: current?.disks) }

  private func released(_ leaving: Set<UUID>, guest has: Set<UUID>?) -> Set<UUID> {
    if leaving.isEmpty || host == nil { return leaving }
    guard let seen = current, seen.generation >= intent.generation else { return [] }
    guard seen.power == .running || seen.power == .paused else { return leaving }
    // Who does not tell may have them all.
    guard let has else { return [] }
    return leaving.subtracting(has)
  }
}
