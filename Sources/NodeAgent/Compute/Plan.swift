import AloftModel

// The rules by which a VM gets from where it is to where its document wants it. Pure: no clock, no I/O.
//
// Invariants
// - Delete wins over everything but a newer incarnation.
// - Old news is ignored: a document that is older than what the domain was made from changes nothing.
// - One VM, one place: what is left of an older incarnation is destroyed before anything of a newer one is made.
// - A guest that turned itself off stays off until a newer document wants it running.
// - Nothing is defined or started before all its volumes are ready, and what is started opens their newest layers.
// - A guest with NICs is held at its start, and none that is held or paused goes on, until their ports are installed.
// - Memory is loaded into a guest that stands still, and it is written down that it was before the guest runs: once it runs, its volumes
//   are not what the memory knows of them any more.
// - The plan is made anew after each step, so a step never relies on the one before it.

/// Since when a guest is being asked to power off, on the agent's own monotonic clock.
public struct StopProgress: Sendable, Hashable {
  /// Milliseconds of uptime.
  public var askedFirst: Int
  /// Milliseconds of uptime; nil: not by this process.
  public var askedLast: Int?

  public init(askedFirst: Int, askedLast: Int? = nil) {
    self.askedFirst = askedFirst
    self.askedLast = askedLast
  }
}

/// What is to be done for one VM.
public struct Plan: Sendable, Equatable {
  /// In order.
  public var steps: [Step]
  /// Milliseconds of uptime at which to plan again though nothing happened.
  public var wakeAt: Int?
  /// The guest turned itself off.
  public var guestStopped: Bool
  /// The document is older than the domain.
  public var isOldNews: Bool
  /// The guest has been asked to shut down for a good part of its grace and still runs.
  public var guestIgnores: Bool
  /// What is waited for when there is no step, for people who wait.
  public var activity: String?
  /// Per cent of it.
  public var progress: Int?
  /// What keeps the guest from its desired state though every step succeeds.
  public var problem: Observation.Problem?
  /// Some of its volumes are not ready.
  public var waitsForDisks = false

  public init(
    _ steps: [Step] = [], wakeAt: Int? = nil, guestStopped: Bool = false, isOldNews: Bool = false,
    guestIgnores: Bool = false, activity: String? = nil, problem: Observation.Problem? = nil
  ) {
    self.steps = steps
    self.wakeAt = wakeAt
    self.guestStopped = guestStopped
    self.isOldNews = isOldNews
    self.guestIgnores = guestIgnores
    self.activity = activity
    self.problem = problem
  }
}

extension Plan {
  /// That the guest's power was cut is about to be written down.
  var recordsPowerCut: Bool {
    steps.contains { step in
      if case .setTag(let tag) = step { tag.powerCut } else { false }
    }
  }

  /// A guest that is still booting does not hear the power button: it is pressed again this often, in milliseconds.
  public static let askAgainAfter = 10_000

  /// The way from `actual` to `desired`.
  ///
  /// - Parameters:
  ///   - digest: what the digest of the domain's definition should be.
  ///   - stop: how long the guest is being asked to power off, when the journal says that it is.
  ///   - devices: how long the guest's devices are being waited for.
  ///   - disks: what its volumes are.
  ///   - now: milliseconds of uptime.
  public static func make(
    _ desired: Assignment, _ actual: ActualVM, digest: String, stop: StopProgress?,
    devices: DeviceProgress = DeviceProgress(), disks: DiskSituation = DiskSituation(), now: Int
  ) -> Plan {
    if let tag = actual.domain?.tag, desired.isOldNews(for: tag) { return Plan(isOldNews: true) }
    if desired.deleted { return delete(actual) }
    var steps: [Step] = []
    if let domain = actual.domain {
      guard domain.tag.incarnation < desired.incarnation else {
        let situation = Situation(
          desired: desired, domain: domain, actual: actual, digest: digest, stop: stop, devices: devices, disks: disks,
          now: now)
        return desired.power == .running ? situation.run() : situation.rest()
      }
      steps = remove(domain)
    }
    return create(desired, actual, digest: digest, disks: disks).behind(steps)
  }

  private static func delete(_ actual: ActualVM) -> Plan {
    var steps = actual.domain.map(remove) ?? []
    if actual.files.any || !actual.journal.isEmpty { steps.append(.removeFiles) }
    return Plan(steps)
  }

  private static func remove(_ domain: VMDomain) -> [Step] {
    domain.power.isActive ? [.destroy, .undefine] : [.undefine]
  }

  private static func create(
    _ desired: Assignment, _ actual: ActualVM, digest: String, disks: DiskSituation
  ) -> Plan {
    var steps: [Step] = []
    if !actual.files.seed { steps.append(.createSeed) }
    guard let sources = disks.sources else { return .waiting(for: disks, steps) }
    // Whether the guest has run since it was to go on from memory, only its lost definition knew: it boots.
    steps.append(
      .define(
        DomainTag(
          incarnation: desired.incarnation, generation: desired.generation, digest: digest, disks: sources,
          resumed: desired.memory?.request)))
    if actual.journal.stop != nil { steps.append(.forgetStop) }
    steps += desired.newRequests(actual.journal).map(Step.completeRequest)
    if desired.power == .running { steps.append(desired.start) }
    return Plan(steps)
  }
}

extension Assignment {
  /// The step that starts it. A guest asks for its address as soon as it runs: it must not before it can be answered.
  var start: Step { nics?.isEmpty == false ? .startHeld : .start }

  /// Whether the domain was made from something newer. Nothing in one incarnation is newer than its deletion.
  func isOldNews(for tag: DomainTag) -> Bool {
    incarnation < tag.incarnation
      || (incarnation == tag.incarnation && !deleted && generation < tag.generation)
  }

  /// Whether this document takes the place of `other`, which may be the same one again.
  func replaces(_ other: Assignment) -> Bool {
    if incarnation != other.incarnation { return incarnation > other.incarnation }
    if other.deleted { return deleted }
    return deleted || generation >= other.generation
  }

  func newRequests(_ journal: VMJournal) -> [Request] {
    requests.filter { !journal.requests.contains($0.id) }
  }
}
