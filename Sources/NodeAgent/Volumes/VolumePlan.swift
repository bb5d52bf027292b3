import AloftModel

// The rules by which a volume gets from what it is to what its document wants. Pure: no clock, no I/O.
//
// Invariants
// - A volume that was there is never made anew, nor a snapshot that was taken: what is missing is a problem to report.
// - Nothing is deleted, reverted or merged while a guest has it open, and nothing is done at rest to what a guest has open.
// - A snapshot that was begun is finished, or its guest is switched, before anything else is done with the volume.
// - What a guest's QEMU has merged counts as two layers until it was written down, or is made two again.
// - It never shrinks.
// - Nothing is read from or written to an encrypted volume whose key is not there.
// - Of a volume that goes to another pool one copy counts; see VolumeMove.swift.
// - What another node is to have is only let go of, and what a node that was given up may have open is cut off from it first.
// - The plan is made anew after each step, so a step never relies on the one before it.

/// What is to be done for one volume.
public struct VolumePlan: Sendable, Equatable {
  /// In order.
  public var steps: [VolumeStep]
  /// Milliseconds of uptime at which to plan again though nothing happened.
  public var wakeAt: Int?
  /// What is waited for when there is no step, for people who wait.
  public var activity: String?
  /// What keeps the volume from what is wanted though every step succeeds.
  public var problem: Observation.Problem?

  public init(
    _ steps: [VolumeStep] = [], wakeAt: Int? = nil, activity: String? = nil, problem: Observation.Problem? = nil
  ) {
    self.steps = steps
    self.wakeAt = wakeAt
    self.activity = activity
    self.problem = problem
  }

  /// Milliseconds between looks at who has a volume open.
  static let useLook = 2_000
  /// Milliseconds between looks at whether QEMU has merged layers.
  static let mergeLook = 5_000
  /// The way from `actual` to `desired`.
  ///
  /// - Parameters:
  ///   - partners: the other volumes that can be part of a snapshot now, by the snapshots that they are to have.
  ///   - now: milliseconds of uptime.
  ///   - usual: when to look again though nothing happens with it.
  public static func make(
    _ desired: VolumeAssignment, _ actual: ActualVolume, partners: [VolumeID: Set<SnapshotID>] = [:], now: Int,
    usual: Int
  ) -> VolumePlan {
    if desired.fence == true, actual.use == .elsewhere { return VolumePlan([.fence]) }
    if desired.released == true { return desired.isReleased(actual) ? VolumePlan(wakeAt: usual) : inUse(now) }
    if desired.deleted {
      if actual.look == .absent, actual.move?.isClean != false { return VolumePlan() }
      return actual.use == .nobody ? VolumePlan([.delete]) : inUse(now)
    }
    if desired.isLocked {
      return VolumePlan(
        wakeAt: usual,
        problem: Observation.Problem(
          code: .volumeLocked,
          detail:
            "the control plane has not sent the key of \(desired.volume); a replica lacks the sealing key, its log says which"
        ))
    }
    switch actual.look {
    case .absent:
      guard !desired.mustExist else {
        return damaged(desired, "it is not in the pool \(desired.pool), though it was made", usual)
      }
      if let image = desired.source?.image, !actual.hasImage {
        return VolumePlan([.ensureImage(sha256: image.sha256), .create])
      }
      if desired.source?.isAwaited == true, !actual.isSourceSettled {
        return VolumePlan(wakeAt: now + useLook, activity: "waiting for the volume that it is cloned from")
      }
      if let backup = desired.source?.backup { return VolumePlan([.restore(backup, epoch: desired.epoch)]) }
      return VolumePlan([.create])
    case .damaged(let what): return damaged(desired, what, usual)
    case .whole(let stored):
      guard stored.epoch <= desired.epoch else { return VolumePlan(wakeAt: usual) }
      return Situation(desired: desired, stored: stored, actual: actual, partners: partners, now: now, usual: usual)
        .plan
    }
  }

  private static func inUse(_ now: Int) -> VolumePlan {
    VolumePlan(wakeAt: now + useLook, activity: "waiting for the guest that has it open")
  }

  private static func damaged(_ desired: VolumeAssignment, _ what: String, _ usual: Int) -> VolumePlan {
    VolumePlan(
      wakeAt: usual,
      problem: Observation.Problem(code: .volumeDamaged, detail: "\(desired.volume): \(what)"))
  }

  /// Whether it matters who has the volume open.
  static func mustKnowUse(_ desired: VolumeAssignment, _ look: VolumeLook) -> Bool {
    guard case .whole(let stored) = look else { return desired.deleted && look != .absent }
    if desired.released == true || desired.fence == true || desired.move != nil { return true }
    let wanted = Set(desired.snapshots.map(\.id))
    return desired.deleted || stored.merge != nil || stored.pull != nil || stored.epoch < desired.epoch
      || stored.sizeBytes < desired.sizeBytes || !stored.earlier.isEmpty
      || wanted != Set(stored.snapshots.map(\.id))
  }

  private struct Situation {
    let desired: VolumeAssignment
    let stored: StoredVolume
    let actual: ActualVolume
    let partners: [VolumeID: Set<SnapshotID>]
    let now: Int
    let usual: Int

    private var isFree: Bool { actual.use == .nobody }

    /// Its guest may be worked on, or it has none.
    private var isReachable: Bool {
      switch actual.use {
      case .nobody, .guest: true
      case .unknown, .other, .elsewhere: false
      }
    }

    var plan: VolumePlan {
      if let pressing = VolumePlan.pressingMove(desired, stored, actual, now: now) { return pressing }
      if let pull = stored.pull {
        if isFree { return VolumePlan([.undoPull(pull.merge)]) }
        if pull.isCopied { return settled(pull.merge) }
      }
      if stored.epoch < desired.epoch { return revert }
      if case .guest(let disk) = actual.use, disk.source != stored.source {
        guard disk.source == stored.below else {
          return VolumePlan.damaged(
            desired, "its guest runs on \(disk.source.path), which is not the newest layer nor the one below", usual)
        }
        if !isBegun { return VolumePlan([.catchUp]) }
      }
      if actual.isMerging, let merge = stored.merge {
        return VolumePlan(wakeAt: now + VolumePlan.mergeLook, activity: VolumeStep.pull(merge).activity)
      }
      var plan = VolumePlan(wakeAt: usual)
      for snapshot in stored.snapshots where snapshot.takenAt == nil && !isWanted(snapshot.id) {
        plan.steps.append(.deleteSnapshot(snapshot.id))
      }
      for snapshot in desired.snapshots where !stored.hasTaken(snapshot.id) { take(snapshot, &plan) }
      if stored.sizeBytes < desired.sizeBytes { plan.steps.append(.grow(to: desired.sizeBytes)) }
      for snapshot in stored.taken where !isWanted(snapshot.id) { plan.steps.append(.deleteSnapshot(snapshot.id)) }
      if plan.steps.isEmpty, plan.problem == nil,
        let next = VolumePlan.nextMove(desired, stored, actual, now: now)
      {
        return next
      }
      if let merge = stored.merge, isFree, actual.canMerge { plan.steps.append(.merge(merge)) }
      if let merge = stored.merge, case .guest = actual.use, merge.childSource == stored.source {
        plan.steps.append(.pull(merge))
      }
      guard isReachable || plan.steps.isEmpty else {
        var waiting = VolumePlan.inUse(now)
        waiting.problem = plan.problem
        return waiting
      }
      return plan
    }

    private func settled(_ merge: LayerMerge) -> VolumePlan {
      guard case .guest(let disk) = actual.use, disk.source == merge.childSource else { return VolumePlan.inUse(now) }
      let step = VolumeStep.settlePull(merge)
      return actual.isMerging
        ? VolumePlan(wakeAt: now + VolumePlan.mergeLook, activity: step.activity) : VolumePlan([step])
    }

    private func isWanted(_ snapshot: SnapshotID) -> Bool { desired.snapshots.contains { $0.id == snapshot } }

    /// A snapshot that is wanted was begun: to finish it switches the guest.
    private var isBegun: Bool { stored.snapshots.contains { $0.takenAt == nil && isWanted($0.id) } }

    private var revert: VolumePlan {
      if let restoring = desired.restoring {
        guard let backup = restoring.backup else { return VolumePlan([.keep(epoch: desired.epoch)]) }
        return isFree ? VolumePlan([.restore(backup, epoch: desired.epoch)]) : VolumePlan.inUse(now)
      }
      guard let base = desired.base, stored.hasTaken(base) else {
        let what =
          desired.base.map { "the snapshot \($0) to go back to is missing" } ?? "no snapshot to go back to is named"
        return VolumePlan.damaged(desired, what, usual)
      }
      return isFree ? VolumePlan([.revert(to: base, epoch: desired.epoch)]) : VolumePlan.inUse(now)
    }

    private func take(_ snapshot: VolumeAssignment.Snapshot, _ plan: inout VolumePlan) {
      guard !snapshot.isTaken else {
        plan.problem = Observation.Problem(
          code: .volumeDamaged, detail: "\(desired.volume): its snapshot \(snapshot.id), which was taken, is missing")
        return
      }
      let others = snapshot.volumes.filter { $0 != desired.volume }
      if let missing = others.first(where: { partners[$0]?.contains(snapshot.id) != true }) {
        plan.activity = "waiting for \(missing), of which the same snapshot is to be taken"
        return
      }
      let volumes = ([desired.volume] + others).sorted { $0.description < $1.description }
      plan.steps.append(
        .takeSnapshot(snapshot.id, of: volumes, quiesce: snapshot.quiesce, memory: snapshot.memory))
    }
  }
}
