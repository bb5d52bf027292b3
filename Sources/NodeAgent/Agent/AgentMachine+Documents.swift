import AloftModel

extension AgentMachine {
  struct PollState: Sendable {
    /// Where to go on reading.
    var revision = 0
    /// The poll that is under way; an answer to another one is late and says nothing.
    var underWay: (number: Int, after: Int, since: Int)?
    var number = 0
    var at = 0
    var failures = 0
    /// Uptime at which the next whole list is due.
    var nextFull: Int
    /// What is in a whole list that comes in parts, as far as it has come; nil when none is being read.
    var listed: Set<Subject>?

    init(nextFull: Int) { self.nextFull = nextFull }
  }

  mutating func startPoll(_ uptime: Int, _ effects: inout [AgentEffect]) {
    guard poll.underWay == nil, uptime >= poll.at else { return }
    let full = !isSynchronized || uptime >= poll.nextFull
    let goesOn = poll.listed != nil
    let after = full && !goesOn ? 0 : poll.revision
    poll.number += 1
    poll.underWay = (poll.number, after, uptime)
    effects.append(
      .poll(number: poll.number, after: after, waitSeconds: full || goesOn ? 0 : options.pollSeconds))
  }

  mutating func takeDocuments(
    _ number: Int, _ result: Result<Assignments, AgentFailure>, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    guard let asked = poll.underWay, asked.number == number else { return }
    poll.underWay = nil
    guard case .success(let answer) = result else {
      poll.failures += 1
      poll.at = now.uptime + Self.linkRetry.delay(after: poll.failures, &random)
      return
    }
    poll.failures = 0
    // A server that does not hold the poll must not be asked in a loop.
    let isEmpty = answer.documents.isEmpty && answer.volumes?.isEmpty != false && answer.streams.isEmpty
    poll.at = isEmpty && now.uptime - asked.since < 200 ? now.uptime + 200 : now.uptime
    let news = answer.documents.filter { $0 != vms[$0.vm]?.document }
    for document in answer.volumes ?? [] { take(document) }
    for document in answer.documents { take(document, now) }
    stopCopies(for: news, &effects)
    if asked.after == 0 {
      if let known = answer.sequence { report.countAbove(known) }
      poll.listed = []
    }
    if answer.revision < asked.after {
      // The count of this node went back: the control plane's database was restored. Nothing that was read holds.
      poll.nextFull = now.uptime
      poll.listed = nil
    }
    poll.revision = answer.revision
    poll.listed?.formUnion(answer.documents.map { .vm($0.vm) })
    poll.listed?.formUnion((answer.volumes ?? []).map { .volume($0.volume) })
    if answer.complete != false, let listed = poll.listed {
      poll.listed = nil
      takeWholeList(listed, now)
    }
    for stream in answer.streams where !streams.contains(stream.id) {
      streams = streams.suffix(255) + [stream.id]
      effects.append(.serve(stream))
    }
  }

  private mutating func take(_ document: Assignment, _ now: AgentTime) {
    if let tombstone = tombstones[document.vm] {
      guard document.incarnation > tombstone.incarnation || document.deleted else { return }
      tombstones[document.vm] = nil
    }
    var entry = vms[document.vm] ?? VMEntry()
    if let known = entry.document {
      guard document.replaces(known), document != known else { return }
      if known.incarnation != document.incarnation || known.generation != document.generation
        || known.deleted != document.deleted
      {
        entry.forgetFailures()
      }
    }
    entry.document = document
    connectionsChanged = true
    if vms.updateValue(entry, forKey: document.vm) == nil { order.append(document.vm) }
    touch(.vm(document.vm))
  }

  private mutating func take(_ document: VolumeAssignment) {
    var document = document.unmarked
    let volume = document.volume
    if let tombstone = volumeTombstones[volume] {
      guard document.generation > tombstone.generation || document.deleted else { return }
      volumeTombstones[volume] = nil
    }
    var entry = volumes[volume] ?? VolumeEntry()
    // It never changes: a replica that cannot open it takes nothing away.
    if document.isLocked { document.key = entry.document?.key }
    if let known = entry.document {
      guard document.replaces(known), document != known else { return }
      entry.turn.forgetFailures()
    }
    entry.document = document
    if volumes.updateValue(entry, forKey: volume) == nil { volumeOrder.append(volume) }
    touch(.volume(volume))
    for snapshot in document.snapshots where !snapshot.isTaken {
      for partner in snapshot.volumes where partner != volume { touch(.volume(partner)) }
    }
    for vm in order where vms[vm]?.plan.waitsForDisks == true { touch(.vm(vm)) }
  }

  /// VMs and volumes that are not in the whole list are no longer this agent's business; what there is of them stays.
  private mutating func takeWholeList(_ listed: Set<Subject>, _ now: AgentTime) {
    for vm in order where !listed.contains(.vm(vm)) {
      vms[vm]?.document = nil
      vms[vm]?.turn.wakeAt = nil
    }
    for volume in volumeOrder where !listed.contains(.volume(volume)) {
      volumes[volume]?.document = nil
      forget(volume)
    }
    connectionsChanged = true
    if !isSynchronized { report.tell(at: now.uptime) }
    isSynchronized = true
    poll.nextFull = now.uptime + options.resyncInterval
    tombstones = tombstones.filter { now.uptime - $0.value.at < 3_600_000 }
    volumeTombstones = volumeTombstones.filter { now.uptime - $0.value.at < 3_600_000 }
    sweep.at = now.uptime
  }

  mutating func forget(_ vm: VMID) {
    vms[vm] = nil
    connectionsChanged = true
    order.removeAll { $0 == vm }
    queue.removeAll { $0 == .vm(vm) }
  }
}
