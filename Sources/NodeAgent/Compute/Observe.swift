import AloftModel

extension Observation {
  /// Of a VM whose work has not begun: generation 0 ends nothing, it only says what is waited for.
  init(waiting desired: Assignment, _ activity: String?) {
    self.init(
      vm: desired.vm, incarnation: desired.incarnation, generation: 0, sequence: 0, power: .absent, activity: activity)
  }

  /// See ``init(waiting:_:)``.
  var isWaiting: Bool { generation == 0 && power == .absent && problem == nil }

  /// What is told of one VM; the sequence is filled in when it is sent.
  ///
  /// - Parameters:
  ///   - vm: the VM.
  ///   - desired: its document; nil when the control plane has none for this node.
  ///   - plan: what remains to be done.
  static func of(
    _ vm: VMID, desired: Assignment?, actual: ActualVM, plan: Plan, activity: String?,
    progress: Int?,
    problem: Problem?
  ) -> Observation {
    let tag = actual.domain?.tag
    let followed = plan.isOldNews ? nil : desired
    let stale = followed?.stale(among: actual.disks).map(\.volume) ?? []
    let listed = Set(desired?.requests.map(\.id) ?? [])
    return Observation(
      vm: vm, incarnation: followed?.incarnation ?? tag?.incarnation ?? 0,
      generation: followed?.generation ?? tag?.generation ?? 0, sequence: 0,
      power: power(followed, actual, plan), guestStopped: plan.guestStopped && tag?.guestStopped == true,
      activity: activity,
      progress: progress,
      problem: problem ?? plan.problem ?? followed.flatMap { ignoredGuest($0, actual, plan) },
      completedRequests: actual.journal.requests.filter(listed.contains).sorted {
        $0.description < $1.description
      },
      nics: desired?.nics == nil ? nil : actual.nics.map(\.id), disks: actual.disks.map(\.volume),
      staleDisks: stale.isEmpty ? nil : stale, resumed: tag?.resumed)
  }

  /// A guest that did not shut down when it was asked to. It keeps nobody from anything for long, so every other problem
  /// goes first.
  private static func ignoredGuest(_ desired: Assignment, _ actual: ActualVM, _ plan: Plan) -> Problem? {
    guard let domain = actual.domain, desired.power == .stopped, !desired.deleted else { return nil }
    let grace = desired.stopGraceSeconds
    if plan.guestIgnores, domain.power.isActive {
      return Problem(
        code: .guestIgnored,
        detail: "the guest was asked to shut down and still runs; its power is cut \(grace) s after it was first asked")
    }
    guard !domain.power.isActive, domain.tag.powerCut || plan.recordsPowerCut else { return nil }
    return Problem(
      code: .guestIgnored, detail: "the guest did not shut down within \(grace) s of being asked; its power was cut")
  }

  private static func power(_ desired: Assignment?, _ actual: ActualVM, _ plan: Plan) -> Power {
    guard let domain = actual.domain else {
      // `absent` ends a deletion: it must not be said while files remain.
      return desired?.deleted == true && !plan.steps.isEmpty ? .stopped : .absent
    }
    switch domain.power {
    case .running, .shuttingDown: return .running
    case .paused, .suspended: return .paused
    case .panicked: return .crashed
    // It is not told before it is kept: a process that does not know it would start the guest.
    case .off where plan.guestStopped && !domain.tag.guestStopped: return .running
    // Of a guest that is to be off nobody asks how it got there.
    case .off(.failed):
      return desired?.power == .running && desired?.deleted == false ? .crashed : .stopped
    case .off: return .stopped
    }
  }
}
