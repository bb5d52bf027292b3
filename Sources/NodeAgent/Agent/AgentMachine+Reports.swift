import AloftModel

extension AgentMachine {
  struct ReportState: Sendable {
    /// The last one that was used.
    var sequence: Int
    var number = 0
    /// The report that is under way, as it will be confirmed.
    var underWay: (number: Int, observations: [Observation], volumes: [VolumeObservation])?
    /// Uptime at which something is to be told; nil: nothing new.
    var at: Int?
    var failures = 0
    /// Uptime before which the next one does not go: a failed one is not tried again at once, and what happens soon after one
    /// goes together.
    var notBefore = 0

    init(sequence: Int) { self.sequence = sequence }

    /// Above everything that earlier processes told: also above what of theirs is still on its way, which was less than this.
    static let stride = 1 << 24

    /// Counts on from above `known`, the highest sequence that the control plane has seen. Only a process that has not
    /// told anything yet needs the distance.
    mutating func countAbove(_ known: Int) {
      if number == 0 || sequence < known { sequence = max(sequence, known + Self.stride) }
    }

    mutating func tell(at uptime: Int) { at = max(notBefore, min(at ?? .max, uptime)) }
  }

  /// How many VMs and volumes one report may hold.
  private static let reportLimit = 500

  /// Works out what is to be told of a VM, and when.
  mutating func refresh(_ entry: inout VMEntry, _ now: AgentTime) {
    guard let actual = entry.actual, let vm = entry.planned?.vm ?? actual.domain?.vm else {
      guard let document = entry.document, entry.isUntouched else { return }
      return tell(Observation(waiting: document, entry.turn.activity), of: &entry, now)
    }
    var problem = entry.turn.lastFailure?.problem
    if problem == nil, entry.isPausedByIOError {
      problem = Observation.Problem(
        code: .nodeDiskFull,
        detail: "the guest is paused: writing its disk failed, usually because the node's is full")
    }
    let new = Observation.of(
      vm, desired: entry.planned, actual: actual, plan: entry.plan, activity: entry.turn.activity,
      progress: entry.progress,
      problem: problem)
    tell(new, of: &entry, now)
  }

  private mutating func tell(_ new: Observation, of entry: inout VMEntry, _ now: AgentTime) {
    guard new != entry.observation else { return }
    let isProgress = entry.observation?.isSame(butForProgress: new) ?? new.isWaiting
    entry.observation = new
    report.tell(at: now.uptime + (isProgress ? options.coalesceProgress : 0))
  }

  mutating func startReport(_ now: AgentTime, _ effects: inout [AgentEffect]) {
    guard isSynchronized, report.underWay == nil, let at = report.at, now.uptime >= at else {
      return
    }
    report.at = nil
    var observations: [Observation] = []
    var seen: [VolumeObservation] = []
    for vm in order {
      guard let entry = vms[vm], var observation = entry.observation, observation != entry.confirmed
      else { continue }
      guard observations.count < Self.reportLimit else { return send(observations, seen, now, &effects, more: true) }
      report.sequence += 1
      observation.sequence = report.sequence
      observations.append(observation)
    }
    for volume in volumeOrder {
      guard let entry = volumes[volume], var observation = entry.observation, observation != entry.confirmed
      else { continue }
      guard observations.count + seen.count < Self.reportLimit else {
        return send(observations, seen, now, &effects, more: true)
      }
      report.sequence += 1
      observation.sequence = report.sequence
      seen.append(observation)
    }
    send(observations, seen, now, &effects, more: false)
  }

  private mutating func send(
    _ observations: [Observation], _ seen: [VolumeObservation], _ now: AgentTime, _ effects: inout [AgentEffect],
    more: Bool
  ) {
    if more { report.tell(at: now.uptime) }
    guard !observations.isEmpty || !seen.isEmpty else { return }
    report.number += 1
    report.notBefore = now.uptime + options.coalesce
    report.underWay = (report.number, observations, seen)
    effects.append(.report(number: report.number, observations, seen))
  }

  mutating func takeConfirmation(
    _ number: Int, _ result: Result<LeaseAnswer, AgentFailure>, _ now: AgentTime
  ) {
    guard let sent = report.underWay, sent.number == number else { return }
    report.underWay = nil
    guard case .success = result else {
      // It may have arrived, or still will: what was confirmed before it says nothing any more.
      for observation in sent.observations { vms[observation.vm]?.confirmed = nil }
      for observation in sent.volumes { volumes[observation.volume]?.confirmed = nil }
      report.failures += 1
      report.notBefore = now.uptime + Self.linkRetry.delay(after: report.failures, &random)
      report.tell(at: report.notBefore)
      return
    }
    report.failures = 0
    for var observation in sent.observations {
      observation.sequence = 0
      vms[observation.vm]?.confirmed = observation
      guard let entry = vms[observation.vm] else { continue }
      if entry.observation != observation {
        report.tell(at: now.uptime + options.coalesceProgress)
      } else if observation.power == .absent, entry.document?.deleted == true, entry.turn.work == .idle,
        entry.document == entry.planned
      {
        tombstones[observation.vm] = (observation.incarnation, now.uptime)
        forget(observation.vm)
      }
    }
    for observation in sent.volumes { confirm(observation, now) }
  }

  private mutating func confirm(_ sent: VolumeObservation, _ now: AgentTime) {
    var observation = sent
    observation.sequence = 0
    volumes[observation.volume]?.confirmed = observation
    guard let entry = volumes[observation.volume] else { return }
    if entry.observation != observation {
      report.tell(at: now.uptime + options.coalesceProgress)
    } else if observation.state == .absent && entry.document?.deleted == true
      || observation.state == .released && entry.document?.released == true,
      entry.turn.work == .idle, entry.document == entry.planned
    {
      volumeTombstones[observation.volume] = (observation.generation, now.uptime)
      forget(observation.volume)
    }
  }

  /// Works out what is to be told of a volume, and when.
  mutating func refresh(_ volume: VolumeID, _ now: AgentTime) {
    guard let entry = volumes[volume], let document = entry.planned ?? entry.document else { return }
    let new: VolumeObservation
    if let actual = entry.actual {
      new = VolumeObservation.of(
        document, actual, plan: entry.plan, activity: entry.turn.activity, transfer: entry.transfer,
        problem: entry.turn.lastFailure?.problem, isWhole: { isWhole($0, of: document) })
    } else {
      new = VolumeObservation(waiting: document, entry.turn.activity, problem: entry.turn.lastFailure?.problem)
    }
    guard new != entry.observation else { return }
    let isProgress = new.isPreparing || entry.observation?.isSame(butForProgress: new) == true
    volumes[volume]?.observation = new
    report.tell(at: now.uptime + (isProgress ? options.coalesceProgress : 0))
  }

  /// Whether all volumes of a snapshot have it.
  private func isWhole(_ snapshot: SnapshotID, of document: VolumeAssignment) -> Bool {
    guard let wanted = document.snapshots.first(where: { $0.id == snapshot }), !wanted.isTaken else { return true }
    return wanted.volumes.allSatisfy {
      $0 == document.volume || volumes[$0]?.actual?.stored?.hasTaken(snapshot) == true
    }
  }
}

extension Observation {
  /// Whether `other` differs in what the agent is busy with only.
  func isSame(butForProgress other: Observation) -> Bool {
    var copy = other
    copy.activity = activity
    copy.progress = progress
    return self == copy
  }
}
