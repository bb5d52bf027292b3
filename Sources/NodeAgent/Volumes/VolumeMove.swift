import AloftModel

// The rules by which a volume gets from one pool of the node to another. Pure, as those of VolumePlan.swift.
//
// Invariants
// - Exactly one copy counts. The new one does as soon as its pool has it under the volume's name, which happens in one step and survives
//   whatever dies; before, the old one does. So who comes next can tell from the pools alone.
// - The new one is named only when it is whole and written down, and nobody writes to the old one any more: no guest has that open, or its
//   QEMU has gone over to the new one and the guest has stood still since before that. It goes on only behind the naming.
// - What a copy that does not count has been made of is thrown away, and begun anew; it never becomes the volume later.
// - The old one is deleted only when the new one counts and no guest has the old one open.
// - A move ends where it began only when nothing of the copy is left.

/// What is on the node of a volume that goes to another pool.
public struct ActualMove: Sendable, Hashable {
  /// It counts in the new pool, and what is seen of it is there.
  public var isThere: Bool
  /// The old pool still has something of it, though it counts in the new one.
  public var isLeft: Bool
  /// What was made for it in the new pool and does not count.
  public var copy: DiskSource?
  /// The copying that the QEMU of its guest does.
  public var job: CopyJob?

  public init(isThere: Bool = false, isLeft: Bool = false, copy: DiskSource? = nil, job: CopyJob? = nil) {
    self.isThere = isThere
    self.isLeft = isLeft
    self.copy = copy
    self.job = job
  }

  /// Nothing of the volume is in more than one pool.
  var isClean: Bool { isThere ? !isLeft : copy == nil && job == nil }
}

/// How far a guest's QEMU is with copying a disk.
public struct CopyJob: Sendable, Hashable {
  /// In bytes.
  public var done: Int
  public var total: Int
  /// Both have the same, and whatever is written goes to both.
  public var isReady: Bool

  public init(done: Int, total: Int, isReady: Bool) {
    self.done = done
    self.total = total
    self.isReady = isReady
  }
}

extension VolumeAssignment {
  /// The pool that the volume is in alone, if its document says to move it; nil: it is in two, or stays where it is.
  func settledPool(_ actual: ActualVolume) -> String? {
    guard let move, let seen = actual.move, seen.isClean else { return nil }
    if seen.isThere { return move.pool }
    return move.isGivenUp == true ? pool : nil
  }
}

extension VolumePlan {
  /// Milliseconds between looks at how far QEMU has copied a volume.
  static let copyLook = 1_000

  /// What goes before everything else.
  static func pressingMove(
    _ desired: VolumeAssignment, _ stored: StoredVolume, _ actual: ActualVolume, now: Int
  ) -> VolumePlan? {
    guard let move = desired.move, let seen = actual.move else { return nil }
    let guestSource: DiskSource? = if case .guest(let disk) = actual.use { disk.source } else { nil }
    if seen.isThere {
      guard seen.isLeft, guestSource == nil || guestSource == stored.source else { return nil }
      return isReachable(actual) ? VolumePlan([.leavePool(desired.pool)]) : waiting(now)
    }
    if let copy = seen.copy, guestSource == copy { return VolumePlan([.finishCopy(to: move.pool)]) }
    guard move.isGivenUp == true, !seen.isClean else { return nil }
    return isReachable(actual) ? VolumePlan([.discardCopy(in: move.pool)]) : waiting(now)
  }

  /// What is done when nothing else is left to do. Nil: there is no way to go.
  static func nextMove(
    _ desired: VolumeAssignment, _ stored: StoredVolume, _ actual: ActualVolume, now: Int
  ) -> VolumePlan? {
    guard let move = desired.move, move.isGivenUp != true, let seen = actual.move, !seen.isThere,
      stored.snapshots.isEmpty
    else { return nil }
    switch actual.use {
    case .nobody: return VolumePlan([.copy(to: move.pool)])
    case .guest:
      guard let job = seen.job else {
        // What QEMU gave up, or never began.
        return VolumePlan([seen.copy == nil ? .beginCopy(to: move.pool) : .discardCopy(in: move.pool)])
      }
      if job.isReady { return VolumePlan([.finishCopy(to: move.pool)]) }
      return VolumePlan(wakeAt: now + copyLook, activity: VolumeStep.beginCopy(to: move.pool).activity)
    case .unknown, .other, .elsewhere: return waiting(now)
    }
  }

  private static func isReachable(_ actual: ActualVolume) -> Bool {
    switch actual.use {
    case .nobody, .guest: true
    case .unknown, .other, .elsewhere: false
    }
  }

  private static func waiting(_ now: Int) -> VolumePlan {
    VolumePlan(wakeAt: now + useLook, activity: "waiting for the guest that has it open")
  }
}
