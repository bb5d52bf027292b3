import AloftModel

extension AgentMachine {
  /// Starts a look at a VM that waits; false if it has to wait longer.
  mutating func startLook(_ vm: VMID, _ uptime: Int, _ effects: inout [AgentEffect]) -> Bool {
    guard var entry = vms[vm], entry.turn.work == .queued else { return true }
    defer { vms[vm] = entry }
    guard let document = entry.document, uptime >= entry.turn.notBefore else {
      entry.turn.work = .idle
      if entry.document != nil { entry.turn.wakeAt = entry.turn.notBefore }
      return true
    }
    guard begin(&entry.turn, locking: locks(of: entry)) else { return false }
    effects.append(.inspect(document, documents(of: document.disks.map(\.volume))))
    return true
  }

  /// A VM and all volumes that it has or is to have.
  private func locks(of entry: VMEntry) -> Set<Subject> {
    guard let document = entry.document else { return [] }
    let volumes = document.disks.map(\.volume) + (entry.actual?.disks.map(\.volume) ?? [])
    return Set(volumes.map(Subject.volume)).union([.vm(document.vm)])
  }

  mutating func takeInspection(
    _ vm: VMID, _ result: Result<Inspection, AgentFailure>, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    running -= 1
    guard var entry = vms[vm], entry.turn.work == .inspecting else { return }
    defer { vms[vm] = entry }
    guard let document = entry.document else { return end(&entry.turn) }
    if entry.turn.isDirty { return queueAgain(&entry.turn, .vm(vm)) }
    switch result {
    case .failure(let failure):
      end(&entry.turn)
      entry.turn.fail(failure, doing: "looking at the machine", now, &random)
    case .success(let inspection):
      let before = entry.actual
      entry.take(inspection.actual, of: document, now)
      entry.plan = Plan.make(
        document, inspection.actual.correcting(endedByHost: entry.endedByHost), digest: inspection.digest,
        stop: entry.stop, devices: entry.devices, disks: situation(of: document, inspection.volumes), now: now.uptime)
      entry.planned = document
      advance(vm, &entry, document, now, &effects)
      if entry.turn.work == .idle { end(&entry.turn) }
      tellVolumes(of: document, before, inspection.actual)
    }
    refresh(&entry, now)
  }

  /// Begins the plan's first step, or rests.
  private mutating func advance(
    _ vm: VMID, _ entry: inout VMEntry, _ document: Assignment, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    entry.turn.work = .idle
    entry.turn.wakeAt = entry.plan.wakeAt
    entry.progress = nil
    guard let step = entry.plan.steps.first else {
      entry.turn.failures = 0
      entry.turn.lastFailure = nil
      let stops = entry.stop != nil && document.power == .stopped
      entry.turn.activity = entry.plan.activity ?? (stops ? Step.requestShutdown.activity : nil)
      entry.progress = entry.plan.progress
      return
    }
    entry.turn.activity = step.activity
    switch step {
    case .start where now.uptime < entry.nextStart, .startHeld where now.uptime < entry.nextStart,
      .restore where now.uptime < entry.nextStart, .resume where now.uptime < entry.nextStart:
      entry.turn.activity = "the guest does not stay up: \(step.activity) again in a while"
      entry.turn.wakeAt = min(entry.nextStart, entry.plan.wakeAt ?? .max)
    default:
      entry.turn.work = .performing(step)
      running += 1
      effects.append(.perform(step, document, documents(of: document.disks.map(\.volume))))
    }
  }

  mutating func takeStep(
    _ vm: VMID, _ step: Step, _ failure: AgentFailure?, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    running -= 1
    guard var entry = vms[vm], entry.turn.work == .performing(step) else { return }
    end(&entry.turn)
    if let failure {
      entry.turn.fail(failure, doing: step.activity, now, &random)
      if entry.document != entry.planned {
        // What failed may no longer be wanted.
        entry.forgetFailures()
        entry.turn.wakeAt = now.uptime
      }
      refresh(&entry, now)
    } else {
      entry.note(step, now)
      if let document = entry.document {
        // The VM keeps its turn: a machine that is being made is finished before the next one is begun.
        if begin(&entry.turn, locking: locks(of: entry)) {
          effects.append(.inspect(document, documents(of: document.disks.map(\.volume))))
        } else {
          queueAgain(&entry.turn, .vm(vm), first: true)
        }
      }
    }
    vms[vm] = entry
  }

  mutating func takeList(_ result: Result<[VMDomain], AgentFailure>, _ now: AgentTime) {
    finish(\.sweep, failed: result.failed, every: options.sweepInterval, now.uptime)
    guard case .success(let domains) = result else { return }
    for domain in domains {
      if vms[domain.vm] == nil {
        vms[domain.vm] = VMEntry()
        order.append(domain.vm)
      }
      guard var entry = vms[domain.vm] else { continue }
      if entry.document != nil {
        if entry.actual?.domain != domain { touch(.vm(domain.vm)) }
      } else {
        entry.actual = ActualVM(domain: domain)
        entry.plan = Plan()
        entry.planned = nil
        refresh(&entry, now)
        vms[domain.vm] = entry
      }
    }
    let listed = Set(domains.map(\.vm))
    for vm in order where !listed.contains(vm) {
      guard let entry = vms[vm] else { continue }
      if entry.document != nil {
        if entry.actual?.domain != nil { touch(.vm(vm)) }
      } else if entry.turn.work == .idle {
        forget(vm)
      }
    }
  }

  mutating func takeHypervisorEvent(_ event: HypervisorEvent, _ now: AgentTime) {
    switch event {
    case .changed(let vm): lookAgain(vm, now)
    case .endedByHost(let vm):
      vms[vm]?.endedByHost = true
      lookAgain(vm, now)
    case .resynchronize:
      for vm in order {
        if vms[vm]?.turn.lastFailure?.kind == .hypervisorUnavailable { vms[vm]?.turn.notBefore = 0 }
        touch(.vm(vm))
      }
      for volume in volumeOrder where volumes[volume]?.turn.lastFailure?.kind == .hypervisorUnavailable {
        volumes[volume]?.turn.notBefore = 0
        touch(.volume(volume))
      }
      sweep.at = now.uptime
      // libvirt is back, perhaps another version of it.
      facts.at = now.uptime
    }
  }

  private mutating func lookAgain(_ vm: VMID, _ now: AgentTime) {
    if vms[vm]?.document != nil { touch(.vm(vm)) } else { sweep.at = now.uptime }
  }
}

extension VMEntry {
  /// Guests that do not stay up are started ever more slowly.
  fileprivate var nextStart: Int {
    starts == 0 ? 0 : lastStart + min(60_000, 1_000 << min(starts - 1, 10))
  }

  /// Milliseconds after which a guest counts as one that stays up.
  private static let staysUp = 300_000

  fileprivate mutating func take(_ actual: ActualVM, of document: Assignment, _ now: AgentTime) {
    self.actual = actual
    devices.follow(actual, now.uptime)
    // The event may have been about an earlier life of the guest, such as one that this agent ended.
    if actual.domain?.power == .running { endedByHost = false }
    if starts > 0, now.uptime - lastStart > Self.staysUp { starts = 0 }
    guard let record = actual.journal.stop, record.incarnation == document.incarnation else {
      stop = nil
      stopRecord = nil
      return
    }
    if record != stopRecord {
      // The host's clock may have been set back since; then the grace begins anew, once.
      let elapsed = max(0, now.wall - record.askedAt)
      stop = StopProgress(askedFirst: now.uptime - elapsed, askedLast: stop?.askedLast)
      stopRecord = record
    }
  }

  fileprivate mutating func note(_ step: Step, _ now: AgentTime) {
    turn.failures = 0
    turn.lastFailure = nil
    switch step {
    case .start, .startHeld, .restore:
      starts += 1
      lastStart = now.uptime
      endedByHost = false
    case .resume:
      starts += 1
      lastStart = now.uptime
    case .unplug(let nic): devices.noteUnplug(nic, now.uptime)
    case .detach(let volume): devices.noteDetach(volume, now.uptime)
    case .requestShutdown:
      stop = StopProgress(askedFirst: stop?.askedFirst ?? now.uptime, askedLast: now.uptime)
    default: break
    }
  }
}

extension ActualVM {
  func correcting(endedByHost: Bool) -> ActualVM {
    guard endedByHost, domain?.power == .off(.guestShutdown) else { return self }
    var corrected = self
    corrected.domain?.power = .off(.failed)
    return corrected
  }
}
