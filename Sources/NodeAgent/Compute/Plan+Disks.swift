import AloftModel

/// What a VM's volumes are at the moment of its plan.
public struct DiskSituation: Sendable, Equatable {
  /// A digest of what QEMU would open; nil while a volume is not ready.
  public var sources: String?
  public var ready: Set<VolumeID>
  /// What is waited for, in words, and how far it is in per cent.
  public var activity: String?
  public var progress: Int?
  /// What keeps a volume from being ready.
  public var problem: Observation.Problem?

  public init(
    sources: String? = "", ready: Set<VolumeID> = [], activity: String? = nil, progress: Int? = nil,
    problem: Observation.Problem? = nil
  ) {
    self.sources = sources
    self.ready = ready
    self.activity = activity
    self.progress = progress
    self.problem = problem
  }
}

extension Plan {
  /// Nothing more can be done before the volumes are ready.
  static func waiting(for disks: DiskSituation, _ steps: [Step] = []) -> Plan {
    var plan = Plan(steps, activity: disks.activity ?? "waiting for its volumes", problem: disks.problem)
    plan.progress = disks.progress
    plan.waitsForDisks = true
    return plan
  }
}

extension Plan.Situation {
  /// What has to be plugged in and out of a guest that runs. Whatever else there is to do goes first: a guest may never give
  /// a device back.
  var diskPlan: Plan {
    var plan = Plan()
    for disk in actual.disks where !desired.disks.contains(where: { $0.volume == disk.volume }) {
      ask(disk.volume, &plan)
    }
    let plugged = Set(actual.disks.map(\.volume))
    let missing = desired.disks.filter { !plugged.contains($0.volume) }
    plan.steps += missing.filter { disks.ready.contains($0.volume) }.map(Step.attach)
    plan.steps += desired.stale(among: actual.disks).map(Step.limit)
    if missing.contains(where: { !disks.ready.contains($0.volume) }) {
      plan.waitsForDisks = true
      plan.activity = plan.activity ?? disks.activity
      plan.progress = disks.progress
      plan.problem = plan.problem ?? disks.problem
    }
    return plan
  }

  private func ask(_ volume: VolumeID, _ plan: inout Plan) {
    guard let asked = devices.detaches[volume] else { return plan.steps.append(.detach(volume)) }
    plan.wait(for: asked, .detach(volume), what: volume.description, now)
  }
}

extension Plan {
  /// A device that the guest was asked for: it is asked again, and in the end somebody is told.
  mutating func wait(for asked: DeviceProgress.Unplug, _ step: Step, what: String, _ now: Int) {
    activity = step.activity
    if now - asked.askedFirst >= Plan.unplugPatience {
      problem = Observation.Problem(
        code: .guestIgnored,
        detail: "the guest was asked to give \(what) back and does not; it goes when the guest is stopped")
    }
    let again = asked.askedLast + Plan.askAgainAfter
    if now >= again { steps.append(step) }
    wakeAt = min(wakeAt ?? .max, max(again, now + 1))
  }

  /// Both plans, this one first.
  func with(_ other: Plan) -> Plan {
    var plan = self
    plan.steps += other.steps
    plan.wakeAt = [wakeAt, other.wakeAt].compactMap { $0 }.min()
    plan.activity = activity ?? other.activity
    plan.progress = activity == nil ? other.progress : progress
    plan.problem = problem ?? other.problem
    plan.waitsForDisks = waitsForDisks || other.waitsForDisks
    return plan
  }
}
