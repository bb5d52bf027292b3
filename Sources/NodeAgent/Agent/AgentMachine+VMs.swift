import AloftModel

extension AgentMachine {
  /// The VM is to be looked at.
  mutating func touch(_ vm: VMID) {
    guard isSynchronized || vms[vm]?.document != nil, var entry = vms[vm] else { return }
    entry.wakeAt = nil
    if entry.work == .idle {
      entry.work = .queued
      queue.append(vm)
    } else if entry.work != .queued {
      entry.isDirty = true
    }
    vms[vm] = entry
  }

  /// Starts looks at VMs that wait, as far as the limit allows.
  mutating func startLooks(_ uptime: Int, _ effects: inout [AgentEffect]) {
    guard isSynchronized else { return }
    var waiting = queue[...]
    while running < options.parallelSteps, let vm = waiting.popFirst() {
      guard var entry = vms[vm], entry.work == .queued else { continue }
      if let document = entry.document, uptime >= entry.notBefore {
        entry.work = .inspecting
        entry.isDirty = false
        running += 1
        effects.append(.inspect(document))
      } else {
        entry.work = .idle
        if entry.document != nil { entry.wakeAt = entry.notBefore }
      }
      vms[vm] = entry
    }
    queue = Array(waiting)
  }

  mutating func takeInspection(
    _ vm: VMID, _ result: Result<Inspection, AgentFailure>, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    running -= 1
    guard var entry = vms[vm], entry.work == .inspecting else { return }
    entry.work = .idle
    defer { vms[vm] = entry }
    guard let document = entry.document else { return }
    if entry.isDirty {
      entry.work = .queued
      queue.append(vm)
      return
    }
    switch result {
    case .failure(let failure): fail(&entry, failure, doing: "looking at the machine", now)
    case .success(let inspection):
      entry.take(inspection.actual, of: document, now)
      entry.plan = Plan.make(
        document, inspection.actual.correcting(endedByHost: entry.endedByHost),
        digest: inspection.digest,
        stop: entry.stop, network: entry.network, now: now.uptime)
      entry.planned = document
      advance(vm, &entry, document, now, &effects)
    }
    refresh(&entry, now)
  }

  /// Begins the plan's first step, or rests.
  private mutating func advance(
    _ vm: VMID, _ entry: inout VMEntry, _ document: Assignment, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    entry.wakeAt = entry.plan.wakeAt
    entry.progress = nil
    guard let step = entry.plan.steps.first else {
      entry.failures = 0
      entry.lastFailure = nil
      let stops = entry.stop != nil && document.power == .stopped
      entry.activity = entry.plan.activity ?? (stops ? Step.requestShutdown.activity : nil)
      return
    }
    entry.activity = step.activity
    switch step {
    case .ensureImage:
      images.want(document.image, for: vm)
      entry.lastFailure = images.failure(of: document.image.sha256)
      entry.progress = images.progress(of: document.image.sha256)
    case .start where now.uptime < entry.nextStart, .startHeld where now.uptime < entry.nextStart,
      .resume where now.uptime < entry.nextStart:
      entry.activity = "the guest does not stay up: \(step.activity) again in a while"
      entry.wakeAt = min(entry.nextStart, entry.plan.wakeAt ?? .max)
    default:
      entry.work = .performing(step)
      running += 1
      effects.append(.perform(step, document))
    }
  }

  mutating func takeStep(
    _ vm: VMID, _ step: Step, _ failure: AgentFailure?, _ now: AgentTime,
    _ effects: inout [AgentEffect]
  ) {
    running -= 1
    guard var entry = vms[vm], entry.work == .performing(step) else { return }
    entry.work = .idle
    if let failure {
      fail(&entry, failure, doing: step.activity, now)
      if entry.document != entry.planned {
        // What failed may no longer be wanted.
        entry.forgetFailures()
        entry.wakeAt = now.uptime
      }
      refresh(&entry, now)
    } else {
      entry.note(step, now)
      if let document = entry.document {
        // The VM keeps its turn: a machine that is being made is finished before the next one is begun.
        entry.work = .inspecting
        entry.isDirty = false
        running += 1
        effects.append(.inspect(document))
      }
    }
    vms[vm] = entry
  }

  private mutating func fail(
    _ entry: inout VMEntry, _ failure: AgentFailure, doing what: String, _ now: AgentTime
  ) {
    entry.failures += 1
    entry.lastFailure = failure
    let delay: Int
    switch failure.kind {
    case .hypervisorUnavailable: delay = 1_000
    case .changedMeanwhile: delay = min(50 << min(entry.failures, 10), 10_000)
    default: delay = Self.retry.delay(after: entry.failures, &random)
    }
    entry.notBefore = now.uptime + delay
    entry.wakeAt = entry.notBefore
    entry.activity = "\(what) failed, trying again: \(failure.detail)"
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
        if entry.actual?.domain != domain { touch(domain.vm) }
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
        if entry.actual?.domain != nil { touch(vm) }
      } else if entry.work == .idle {
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
        if vms[vm]?.lastFailure?.kind == .hypervisorUnavailable { vms[vm]?.notBefore = 0 }
        touch(vm)
      }
      sweep.at = now.uptime
      // libvirt is back, perhaps another version of it.
      facts.at = now.uptime
    }
  }

  private mutating func lookAgain(_ vm: VMID, _ now: AgentTime) {
    if vms[vm]?.document != nil { touch(vm) } else { sweep.at = now.uptime }
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
    network.follow(actual, now.uptime)
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
    failures = 0
    lastFailure = nil
    switch step {
    case .start, .startHeld:
      starts += 1
      lastStart = now.uptime
      endedByHost = false
    case .resume:
      starts += 1
      lastStart = now.uptime
    case .unplug(let nic): network.noteUnplug(nic, now.uptime)
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
