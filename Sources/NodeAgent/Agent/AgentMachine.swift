import AloftModel

// The agent's rules as a value: events go in, effects come out. It has no clock, no I/O and no tasks, and the same
// events give the same effects, so a simulation can drive it, lose what it asks for, and throw it away at any point.
//
// Invariants
// - Nothing is done to a VM without a document, and nothing at all before the first whole list of documents: guests of
//   which the control plane says nothing run on.
// - For a VM and its volumes together at most one look or step is under way, and what was seen holds for the step behind it;
//   different VMs do not wait for each other, up to a limit.
// - After each step the VM or volume is looked at again: the machine believes its eyes, not its memory.
// - One content is downloaded once, however many volumes wait for it.
// - What changed about a VM is told until the control plane has confirmed it, with increasing sequences.
// - Whatever fails is tried again, ever more slowly.

/// Decides what the agent does next.
public struct AgentMachine: Sendable {
  public struct Options: Sendable {
    /// How many VMs and volumes are worked on at a time.
    public var parallelSteps = 4
    /// How many of those that merge layers of volumes, which takes long and can wait, beside them.
    public var parallelMerges = 1
    public var parallelDownloads = 2
    /// How many images are made of volumes at a time.
    public var parallelExports = 1
    /// How many backups are made at a time, and how many volumes restored.
    public var parallelBackups = 1
    public var parallelRestores = 1
    /// How many volumes at rest are copied to other pools at a time.
    public var parallelCopies = 1
    /// How long the control plane may hold a poll, in seconds.
    public var pollSeconds = 25
    /// Milliseconds. Libvirt's events come at once; this finds what they did not tell.
    public var sweepInterval = 10_000
    /// Milliseconds between looks at a volume with which nothing happens: how much it takes.
    public var volumeInterval = 300_000
    /// Milliseconds between looks at the host: its capacity, its versions.
    public var factsInterval = 60_000
    /// Milliseconds between looks at everything that is kept on the node.
    public var contentsInterval = 60_000
    /// Milliseconds between whole lists of documents, which heal what was missed.
    public var resyncInterval = 600_000
    /// Milliseconds after which everything is told again.
    public var retellInterval = 60_000
    /// Milliseconds after a report during which changes wait for each other; else one is told at once.
    public var coalesce = 20
    /// Milliseconds that mere progress waits for a change to be told with.
    public var coalesceProgress = 250

    public init() {}
  }

  let options: Options
  var random: SplitMix
  var vms: [VMID: VMEntry] = [:]
  /// The known VMs in a fixed order: a dictionary's order differs from run to run.
  var order: [VMID] = []
  var volumes: [VolumeID: VolumeEntry] = [:]
  var volumeOrder: [VolumeID] = []
  /// What waits for its turn.
  var queue: [Subject] = []
  /// What is worked on, with what it is worked on together with.
  var locks: Set<Subject> = []
  var running = 0
  var merging = 0
  var restoring = 0
  var copying = 0
  var images = ImageTable()
  var exports = SnapshotJobs<VolumeAssignment.Export>()
  var backups = SnapshotJobs<VolumeAssignment.Backup>()

  /// Deleted incarnations that were confirmed: a late copy of an older document must not bring them back.
  var tombstones: [VMID: (incarnation: Int, at: Int)] = [:]
  /// The same of volumes, by generation.
  var volumeTombstones: [VolumeID: (generation: Int, at: Int)] = [:]
  /// The first whole list of documents has come.
  var isSynchronized = false
  var poll: PollState
  var report: ReportState
  var heartbeat = Timer()
  var heartbeatInterval = 5_000
  var sweep = Timer()
  var facts = Timer()
  var contents = Timer()
  /// What was found last that nothing needs; nil: not looked at yet.
  var orphans: [String]?
  var tidyAt: Int
  var retellAt: Int
  var identity: CertificateValidity?
  var renewal = Timer()
  /// The control plane wants a new certificate to be asked for now.
  var isAskedToRenew = false
  /// The VMs with NICs that were told last; nil: none yet.
  var connected: [Assignment]?
  /// How often they were told.
  var connections = 0
  /// Whether documents have changed since.
  var connectionsChanged = false
  /// Streams that were taken up already.
  var streams: [StreamID] = []

  static let retry = Backoff(first: 1_000, limit: 60_000)
  static let linkRetry = Backoff(first: 250, limit: 10_000)

  /// An activity that repeats; `at` is when it is due, in uptime. While it is under way: when it was asked for again.
  struct Timer: Sendable {
    var at = 0
    var isUnderWay = false
    var failures = 0
  }

  /// - Parameters:
  ///   - seed: for the jitter of retries.
  ///   - identity: when the client certificate is valid; nil where there is none.
  public init(
    options: Options = Options(), now: AgentTime, seed: UInt64, identity: CertificateValidity? = nil
  ) {
    self.options = options
    self.identity = identity
    random = SplitMix(seed: seed)
    poll = PollState(nextFull: now.uptime)
    // The first whole list tells how far earlier processes counted. The clock is for control planes that do not tell.
    report = ReportState(sequence: now.wall)
    // Whoever starts an agent has just looked.
    facts.at = now.uptime + options.factsInterval
    tidyAt = now.uptime + options.sweepInterval
    retellAt = now.uptime + options.retellInterval
  }

  /// Takes an event in and tells what to do. Call it with `wake` first, and then whenever ``wakeAt`` is reached.
  public mutating func handle(_ event: AgentEvent, now: AgentTime) -> [AgentEffect] {
    var effects: [AgentEffect] = []
    switch event {
    case .wake: break
    case .listed(let result): takeList(result, now)
    case .inspected(let vm, let result): takeInspection(vm, result, now, &effects)
    case .untouched(let vm, let failure):
      vms[vm]?.isUntouched = true
      takeInspection(vm, .failure(failure), now, &effects)
    case .performed(let vm, let step, let failure): takeStep(vm, step, failure, now, &effects)
    case .volumeInspected(let volume, let result): takeInspection(volume, result, now, &effects)
    case .volumePerformed(let volume, let step, let failure): takeStep(volume, step, failure, now, &effects)
    case .imageProgress(let sha256, let pool, let bytes): takeProgress(sha256, pool, bytes, now)
    case .imageFetched(let sha256, let pool, let failure): takeImage(sha256, pool, failure, now)
    case .exported(let image, let failure): takeExport(image, failure, now)
    case .backedUp(let backup, let failure): takeBackup(backup, failure, now)
    case .volumeProgress(let volume, let done, let total): takeProgress(volume, done, total, now)
    case .polled(let number, let result): takeDocuments(number, result, now, &effects)
    case .reported(let number, let result): takeConfirmation(number, result, now)
    case .heartbeatAnswered(let result): takeHeartbeat(result, now)
    case .contentsRead(let result): takeContents(result, now)
    case .factsRead(let failure):
      finish(\.facts, failed: failure != nil, every: options.factsInterval, now.uptime)
    case .renewed(let result): takeRenewal(result, now)
    case .hypervisor(let event): takeHypervisorEvent(event, now)
    case .network(let event): takeNetworkEvent(event, now)
    }
    runTimers(now, &effects)
    return effects
  }

  /// The uptime at which the machine wants to be woken.
  public var wakeAt: Int {
    var at = min(tidyAt, retellAt)
    for timer in [heartbeat, sweep, facts] where !timer.isUnderWay { at = min(at, timer.at) }
    if isSynchronized, !contents.isUnderWay { at = min(at, contents.at) }
    if poll.underWay == nil { at = min(at, poll.at) }
    if isSynchronized, report.underWay == nil, let due = report.at { at = min(at, due) }
    for vm in order { if let wake = vms[vm]?.turn.wakeAt { at = min(at, wake) } }
    for volume in volumeOrder { if let wake = volumes[volume]?.turn.wakeAt { at = min(at, wake) } }
    at = min(at, images.wakeAt(limit: options.parallelDownloads) ?? at)
    at = min(at, exports.wakeAt(limit: options.parallelExports) ?? at)
    return min(at, backups.wakeAt(limit: options.parallelBackups) ?? at)
  }

  private mutating func runTimers(_ now: AgentTime, _ effects: inout [AgentEffect]) {
    let uptime = now.uptime
    if due(&sweep, uptime) { effects.append(.listDomains) }
    if due(&facts, uptime) { effects.append(.readFacts) }
    if isSynchronized, due(&contents, uptime) { effects.append(.readContents) }
    if due(&heartbeat, uptime) { effects.append(.heartbeat(orphans: orphans)) }
    if let identity, isAskedToRenew || now.wall >= identity.renewAt, due(&renewal, uptime) {
      effects.append(.renewIdentity)
    }
    startPoll(uptime, &effects)
    if uptime >= tidyAt {
      tidyAt = uptime + options.sweepInterval
      if isSynchronized {
        effects.append(.tidy(listed: listedRequests, images: listedImages, exports: listedExports))
      }
    }
    if uptime >= retellAt {
      retellAt = uptime + options.retellInterval
      for vm in order { vms[vm]?.confirmed = nil }
      for volume in volumeOrder { volumes[volume]?.confirmed = nil }
      report.tell(at: uptime)
    }
    for vm in order where (vms[vm]?.turn.wakeAt ?? .max) <= uptime { touch(.vm(vm)) }
    for volume in volumeOrder where (volumes[volume]?.turn.wakeAt ?? .max) <= uptime { touch(.volume(volume)) }
    connect(&effects)
    startImages(uptime, &effects)
    startJobs(uptime, &effects)
    startLooks(uptime, &effects)
    startReport(now, &effects)
  }

  private func due(_ timer: inout Timer, _ uptime: Int) -> Bool {
    guard !timer.isUnderWay, uptime >= timer.at else { return false }
    timer.isUnderWay = true
    timer.at = .max
    return true
  }

  /// The images that volumes are to be made from, whether they were made already or not.
  private var listedImages: Set<String> {
    volumes.values.reduce(into: []) { set, entry in
      guard let document = entry.document, !document.deleted, let image = document.source?.image else { return }
      set.insert(image.sha256.lowercased())
    }
  }

  private var listedRequests: Set<VMRequestID> {
    vms.values.reduce(into: []) { set, entry in
      set.formUnion(entry.document?.requests.map(\.id) ?? [])
    }
  }

  mutating func finish(
    _ timer: WritableKeyPath<AgentMachine, Timer>, failed: Bool, every interval: Int, _ uptime: Int
  ) {
    self[keyPath: timer].isUnderWay = false
    var pause = interval
    if failed {
      self[keyPath: timer].failures += 1
      pause = min(Self.linkRetry.delay(after: self[keyPath: timer].failures, &random), interval)
    } else {
      self[keyPath: timer].failures = 0
    }
    // Whoever asked for it while it was under way is not to wait for the next round.
    self[keyPath: timer].at = min(self[keyPath: timer].at, uptime + pause)
  }

  private mutating func takeHeartbeat(_ result: Result<LeaseAnswer, AgentFailure>, _ now: AgentTime) {
    if case .success(let answer) = result {
      heartbeatInterval = max(250, answer.leaseSeconds * 250)
      isAskedToRenew = answer.renew == true
    }
    finish(\.heartbeat, failed: result.failed, every: heartbeatInterval, now.uptime)
  }

  private mutating func takeRenewal(
    _ result: Result<CertificateValidity, AgentFailure>, _ now: AgentTime
  ) {
    if case .success(let validity) = result {
      identity = validity
      isAskedToRenew = false
    }
    finish(\.renewal, failed: result.failed, every: 60_000, now.uptime)
  }
}

extension Result {
  var failed: Bool { if case .failure = self { true } else { false } }
  var failure: Failure? { if case .failure(let failure) = self { failure } else { nil } }
}
