import AloftModel

extension AgentMachine {
  func documents(of volumes: [VolumeID]) -> [VolumeAssignment] { volumes.compactMap { self.volumes[$0]?.document } }

  /// Starts a look at a volume that waits; false if it has to wait longer.
  mutating func startLook(_ volume: VolumeID, _ uptime: Int, _ effects: inout [AgentEffect]) -> Bool {
    guard var entry = volumes[volume], entry.turn.work == .queued else { return true }
    guard let document = entry.document else {
      entry.turn.work = .idle
      volumes[volume] = entry
      forget(volume)
      return true
    }
    defer { volumes[volume] = entry }
    guard uptime >= entry.turn.notBefore else {
      entry.turn.work = .idle
      entry.turn.wakeAt = entry.turn.notBefore
      return true
    }
    guard begin(&entry.turn, locking: locks(of: document)) else { return false }
    effects.append(.inspectVolume(document))
    return true
  }

  /// A volume, those that are part of a snapshot that it does not have yet, and the VMs that have or are to have any of them.
  private func locks(of document: VolumeAssignment) -> Set<Subject> {
    var all: Set<VolumeID> = [document.volume]
    let stored = volumes[document.volume]?.actual?.stored
    for snapshot in document.snapshots where stored?.hasTaken(snapshot.id) != true { all.formUnion(snapshot.volumes) }
    return locks(of: all)
  }

  private func locks(of all: Set<VolumeID>) -> Set<Subject> {
    var subjects = Set(all.map(Subject.volume))
    for volume in all { if let vm = volumes[volume]?.document?.vm { subjects.insert(.vm(vm)) } }
    for vm in order {
      guard let entry = vms[vm] else { continue }
      let has = entry.document?.disks.contains { all.contains($0.volume) } == true
      if has || entry.actual?.disks.contains(where: { all.contains($0.volume) }) == true { subjects.insert(.vm(vm)) }
    }
    return subjects
  }

  mutating func takeInspection(
    _ volume: VolumeID, _ result: Result<ActualVolume, AgentFailure>, _ now: AgentTime, _ effects: inout [AgentEffect]
  ) {
    running -= 1
    guard var entry = volumes[volume], entry.turn.work == .inspecting else { return }
    guard let document = entry.document else {
      end(&entry.turn)
      volumes[volume] = entry
      return forget(volume)
    }
    if entry.turn.isDirty {
      queueAgain(&entry.turn, .volume(volume))
      volumes[volume] = entry
      return
    }
    let before = entry.state
    switch result {
    case .failure(let failure):
      end(&entry.turn)
      entry.turn.fail(failure, doing: "looking at the volume", now, &random)
    case .success(let actual):
      entry.actual = actual
      entry.plan = VolumePlan.make(
        document, actual, partners: partners(of: document), now: now.uptime, usual: now.uptime + options.volumeInterval)
      entry.planned = document
      advance(volume, &entry, document, now, &effects)
      if entry.turn.work == .idle { end(&entry.turn) }
    }
    volumes[volume] = entry
    refresh(volume, now)
    if entry.state != before {
      tellOthers(about: document, looksOther: entry.state.look != before.look)
      tellPartners(of: document, now)
    }
  }

  /// The other volumes of this one's snapshots that can be part of them now.
  private func partners(of document: VolumeAssignment) -> [VolumeID: Set<SnapshotID>] {
    var found: [VolumeID: Set<SnapshotID>] = [:]
    for snapshot in document.snapshots {
      for partner in snapshot.volumes where partner != document.volume {
        guard let entry = volumes[partner], let other = entry.document, entry.actual?.stored?.epoch == other.epoch,
          !other.deleted, other.snapshots.contains(where: { $0.id == snapshot.id })
        else { continue }
        found[partner, default: []].insert(snapshot.id)
      }
    }
    return found
  }

  /// Begins the plan's first step, or rests.
  private mutating func advance(
    _ volume: VolumeID, _ entry: inout VolumeEntry, _ document: VolumeAssignment, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    entry.turn.work = .idle
    entry.turn.wakeAt = entry.plan.wakeAt
    entry.transfer = entry.actual?.move?.job.map { (done: $0.done, total: $0.total) }
    guard let step = entry.plan.steps.first else {
      entry.turn.failures = 0
      entry.turn.lastFailure = nil
      entry.turn.activity = entry.plan.activity
      return
    }
    entry.turn.activity = step.activity
    switch step {
    case .ensureImage:
      guard let image = document.source?.image else { return }
      images.want(image, in: document.pool, for: volume)
      entry.turn.lastFailure = images.failure(of: image.sha256, in: document.pool)
      entry.transfer = images.transfer(of: image.sha256, in: document.pool)
    case .merge(let merge):
      // Others read through the same layers. It takes long, so one at a time, and not in the place of other work.
      let more = locks(of: Set(merge.volumes)).subtracting(entry.turn.locks)
      guard merging < options.parallelMerges, locks.isDisjoint(with: more) else {
        entry.turn.wakeAt = now.uptime + VolumePlan.useLook
        entry.turn.activity = nil
        return
      }
      locks.formUnion(more)
      entry.turn.locks.formUnion(more)
      merging += 1
      entry.turn.work = .performing(step)
      effects.append(.performVolume(step, document, documents(of: merge.volumes)))
    case .restore:
      // As long as a merge, and one at a time too.
      guard restoring < options.parallelRestores else {
        entry.turn.wakeAt = now.uptime + VolumePlan.useLook
        entry.turn.activity = "waiting for another volume that is being restored"
        return
      }
      restoring += 1
      entry.turn.work = .performing(step)
      effects.append(.performVolume(step, document, [document]))
    case .copy:
      guard copying < options.parallelCopies else {
        entry.turn.wakeAt = now.uptime + VolumePlan.useLook
        entry.turn.activity = "waiting for another volume that is being copied"
        return
      }
      copying += 1
      entry.turn.work = .performing(step)
      effects.append(.performVolume(step, document, [document]))
    case .takeSnapshot(_, let all, _, _):
      entry.turn.work = .performing(step)
      running += 1
      effects.append(.performVolume(step, document, documents(of: all)))
    default:
      entry.turn.work = .performing(step)
      running += 1
      effects.append(.performVolume(step, document, [document]))
    }
  }

  mutating func takeStep(
    _ volume: VolumeID, _ step: VolumeStep, _ failure: AgentFailure?, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    switch step {
    case .merge: merging -= 1
    case .restore: restoring -= 1
    case .copy: copying -= 1
    default: running -= 1
    }
    guard var entry = volumes[volume], entry.turn.work == .performing(step) else { return }
    end(&entry.turn)
    defer { if case .takeSnapshot(_, let all, _, _) = step { touch(all.filter { $0 != volume }) } }
    guard let document = entry.document else {
      volumes[volume] = entry
      return forget(volume)
    }
    if let failure {
      entry.turn.fail(failure, doing: step.activity, now, &random)
      if document != entry.planned {
        // What failed may no longer be wanted.
        entry.turn.forgetFailures()
        entry.turn.wakeAt = now.uptime
      }
      volumes[volume] = entry
      refresh(volume, now)
      return tellOthers(about: document, looksOther: false)
    }
    if step.letsGoOfLayers { tellNeighbours(of: document) }
    entry.turn.failures = 0
    entry.turn.lastFailure = nil
    if case .pull = step {
      // It goes on by itself.
      entry.turn.wakeAt = now.uptime + VolumePlan.mergeLook
      volumes[volume] = entry
      return
    }
    if running < options.parallelSteps, begin(&entry.turn, locking: locks(of: document)) {
      effects.append(.inspectVolume(document))
    } else {
      queueAgain(&entry.turn, .volume(volume), first: true)
    }
    volumes[volume] = entry
  }

  /// What a VM's volumes are by what was just seen of them.
  func situation(of document: Assignment, _ looks: [VolumeID: VolumeLook]) -> DiskSituation {
    var situation = DiskSituation()
    var sources: [VolumeID: DiskSource] = [:]
    var encryption: [VolumeID: DiskEncryption] = [:]
    for volume in document.disks.map(\.volume) {
      let entry = volumes[volume]
      if let wanted = entry?.document, let look = looks[volume], wanted.isReady(look), case .whole(let stored) = look {
        sources[volume] = stored.source
        encryption[volume] = stored.encryption
        situation.ready.insert(volume)
        continue
      }
      guard situation.activity == nil else { continue }
      situation.activity = entry?.turn.activity.map { "\($0) (\(volume))" } ?? "waiting for \(volume)"
      situation.progress = entry?.transfer.flatMap { $0.total > 0 ? min(100, $0.done * 100 / $0.total) : nil }
      situation.problem = entry?.problem
    }
    situation.sources = document.sourceDigest(sources, encryption)
    return situation
  }

  private mutating func touch(_ volumes: [VolumeID]) { for volume in volumes { touch(.volume(volume)) } }

  /// VMs that have this volume or wait for it look again.
  private mutating func tellOthers(about document: VolumeAssignment, looksOther: Bool) {
    for vm in order where looksOther || vms[vm]?.plan.waitsForDisks == true {
      if vms[vm]?.document?.disks.contains(where: { $0.volume == document.volume }) == true { touch(.vm(vm)) }
    }
  }

  /// Volumes that may read through the same layers: two of theirs can be merged now.
  private mutating func tellNeighbours(of document: VolumeAssignment) {
    touch(
      volumeOrder.filter { volume in
        guard volume != document.volume, let entry = volumes[volume], entry.document?.pool == document.pool,
          let stored = entry.actual?.stored, case .file = stored.source
        else { return false }
        return stored.depth > 1
      })
  }

  /// Volumes that have the same snapshots: they can be taken now, or all have them.
  private mutating func tellPartners(of document: VolumeAssignment, _ now: AgentTime) {
    for snapshot in document.snapshots where !snapshot.isTaken {
      for partner in snapshot.volumes where partner != document.volume {
        if volumes[partner]?.actual?.stored?.hasTaken(snapshot.id) == true {
          refresh(partner, now)
        } else {
          touch(.volume(partner))
        }
      }
    }
  }

  /// Volumes that wait for what a guest does look again.
  mutating func tellVolumes(of document: Assignment, _ before: ActualVM?, _ now: ActualVM) {
    let isActive = now.domain?.power.isActive == true
    guard before?.disks != now.disks || (before?.domain?.power.isActive == true) != isActive else { return }
    let all = document.disks.map(\.volume) + (before?.disks.map(\.volume) ?? []) + now.disks.map(\.volume)
    for volume in Set(all).sorted(by: { $0.description < $1.description }) { touch(.volume(volume)) }
  }

  mutating func forget(_ volume: VolumeID) {
    guard volumes[volume]?.turn.work == .idle || volumes[volume]?.turn.work == .queued else { return }
    volumes[volume] = nil
    volumeOrder.removeAll { $0 == volume }
    queue.removeAll { $0 == .volume(volume) }
  }
}

extension VolumeEntry {
  /// What matters for the VMs that are to have it.
  fileprivate struct State: Equatable {
    var look: VolumeLook?
    var activity: String?
    var problem: Observation.Problem?
  }

  fileprivate var state: State {
    var look = actual?.look
    if case .whole(var stored)? = look {
      stored.usedBytes = 0
      look = .whole(stored)
    }
    return State(look: look, activity: turn.activity, problem: problem)
  }
}
