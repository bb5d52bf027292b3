import AloftModel

extension Plan {
  /// A domain of the right incarnation and the document for it.
  struct Situation {
    let desired: Assignment
    let domain: VMDomain
    let actual: ActualVM
    let digest: String
    let stop: StopProgress?
    let devices: DeviceProgress
    let disks: DiskSituation
    let now: Int

    private var journal: VMJournal { actual.journal }

    private var stopDeadline: Int? { stop.map { $0.askedFirst + desired.stopGraceSeconds * 1000 } }

    /// The guest is to run.
    func run() -> Plan {
      switch domain.power {
      case .running, .suspended: return keepRunning()
      case .paused(let cause): return goOn(cause)
      case .shuttingDown: return Plan()
      case .panicked: return Plan([.destroy, desired.start])
      case .off(let cause):
        if turnedItselfOff(cause) {
          return Plan(settleOff(guestStopped: true) + journalSteps + idleRequests, guestStopped: true)
        }
        guard let sources = disks.sources else { return .waiting(for: disks, journalSteps + idleRequests) }
        return Plan(define(sources) + journalSteps + idleRequests + [start])
      }
    }

    /// Memory that the guest is to go on from, and has not yet.
    private var memory: Assignment.Memory? {
      desired.memory.flatMap { $0.request == domain.tag.resumed ? nil : $0 }
    }

    private var start: Step { memory.map(Step.restore) ?? desired.start }

    /// It stands still with its memory loaded, and is about to run.
    var noteResumed: [Step] {
      guard let memory else { return [] }
      var tag = domain.tag
      tag.resumed = memory.request
      return [.setTag(tag)]
    }

    /// The definition is renewed where it cannot disturb a guest: before its start.
    private func define(_ sources: String) -> [Step] {
      guard domain.tag.digest != digest || domain.tag.disks != sources else { return [] }
      var tag = domain.tag
      tag.generation = desired.generation
      tag.guestStopped = false
      tag.digest = digest
      tag.disks = sources
      return [.define(tag)]
    }

    /// Brings the tag of a domain that is off up to date. A definition that names other layers of its volumes than the newest
    /// is renewed at once: whoever started it behind Aloft's back would write into a snapshot.
    private func settleOff(guestStopped: Bool = false) -> [Step] {
      let settled = settle(ran: false, guestStopped: guestStopped)
      guard let sources = disks.sources, domain.tag.disks != sources else { return settled }
      var tag = domain.tag
      if case .setTag(let new)? = settled.first { tag = new }
      tag.digest = digest
      tag.disks = sources
      return [.define(tag)]
    }

    private func keepRunning() -> Plan {
      let requests = desired.newRequests(journal).map(Step.carryOut)
      let devices = networkPlan.with(diskPlan)
      guard let stopDeadline else { return devices.behind(settle(ran: true) + requests) }
      // The guest was asked to power off before it was wanted again, and may still do so: it did not run at this
      // generation yet, so it is started again then. After the deadline a power-off is the guest's own.
      let settled = settle(ran: false)
      if now >= stopDeadline { return devices.behind(settled + [.forgetStop] + requests) }
      return devices.behind(settled + requests, wakeAt: stopDeadline)
    }

    private func turnedItselfOff(_ cause: DomainPower.OffCause) -> Bool {
      guard domain.tag.ranGeneration == desired.generation else { return false }
      return domain.tag.guestStopped || (cause == .guestShutdown && stop == nil)
    }

    /// The guest is to be off.
    func rest() -> Plan {
      guard domain.power.isActive else {
        return Plan(settleOff() + journalSteps + idleRequests)
      }
      // What never ran cannot shut down, and must not run for that.
      if isHeld { return Plan([.destroy]) }
      if memory != nil, case .paused = domain.power { return Plan([.destroy]) }
      if desired.stopGraceSeconds <= 0 || domain.power == .panicked { return Plan([.destroy]) }
      guard let stop, let stopDeadline else { return Plan([.requestShutdown]) }
      if now >= stopDeadline { return Plan([.destroy], guestIgnores: true) }
      var plan = wait(stop, until: stopDeadline)
      guard domain.power == .running else { return plan }
      let ignoresFrom = stop.askedFirst + max(Plan.askAgainAfter, desired.stopGraceSeconds * 1000 / 2)
      plan.guestIgnores = now >= ignoresFrom
      if !plan.guestIgnores, let wakeAt = plan.wakeAt { plan.wakeAt = min(wakeAt, ignoresFrom) }
      return plan
    }

    /// The guest was asked to power off and may take some time.
    private func wait(_ stop: StopProgress, until stopDeadline: Int) -> Plan {
      let settled = settle(ran: false)
      switch domain.power {
      case .paused:
        // A guest that stands still cannot shut down.
        return Plan(settled + [.resume], wakeAt: stopDeadline)
      case .running:
        let askAgainAt = stop.askedLast.map { $0 + Plan.askAgainAfter } ?? now
        if now >= askAgainAt { return Plan([.requestShutdown] + settled, wakeAt: stopDeadline) }
        return Plan(settled, wakeAt: min(askAgainAt, stopDeadline))
      case .shuttingDown, .suspended, .panicked, .off: return Plan(settled, wakeAt: stopDeadline)
      }
    }

    /// Brings the domain's tag up to date.
    private func settle(ran: Bool, guestStopped: Bool = false) -> [Step] {
      var tag = domain.tag
      tag.generation = desired.generation
      if ran {
        tag.ranGeneration = desired.generation
        tag.resumed = memory?.request ?? tag.resumed
      }
      tag.guestStopped = guestStopped
      tag.powerCut = !ran && (tag.powerCut || wasCutOff)
      return tag == domain.tag ? [] : [.setTag(tag)]
    }

    /// The guest went neither by itself nor because somebody wanted it off at once.
    private var wasCutOff: Bool {
      guard desired.power == .stopped, desired.stopGraceSeconds > 0, let stopDeadline else { return false }
      return domain.power == .off(.destroyed) && now >= stopDeadline
    }

    private var journalSteps: [Step] { journal.stop == nil ? [] : [.forgetStop] }

    /// A guest that is off has nothing to reboot: its next start is one.
    private var idleRequests: [Step] { desired.newRequests(journal).map(Step.completeRequest) }
  }
}
