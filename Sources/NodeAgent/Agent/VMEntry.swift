import AloftModel

/// What the agent knows of one VM and does for it now.
struct VMEntry: Sendable {
  enum Work: Sendable, Equatable {
    case idle
    case queued
    case inspecting
    case performing(Step)
  }

  /// Nil: the control plane has none for this node, and the VM is only reported.
  var document: Assignment?
  var actual: ActualVM?
  /// What there is could not be looked at yet, but it is nothing that was worked on.
  var isUntouched = false
  /// The plan, and the document that it was made for.
  var plan = Plan()
  var planned: Assignment?
  var work = Work.idle
  /// Something changed while work was under way: look again before going on.
  var isDirty = false
  /// Uptime at which to look again though nothing happened.
  var wakeAt: Int?

  var failures = 0
  var lastFailure: AgentFailure?
  /// Uptime before which nothing is tried again.
  var notBefore = 0

  /// How often the guest was started in a row without staying up, and when last.
  var starts = 0
  var lastStart = 0

  var stop: StopProgress?
  /// The journal's record that `stop` was made from.
  var stopRecord: VMJournal.Stop?
  /// How long its network is being waited for.
  var network = NetworkProgress()
  /// The host ended QEMU: what looks like a power-off of the guest was none.
  var endedByHost = false

  /// What is to be told, and what the control plane has confirmed.
  var observation: Observation?
  var confirmed: Observation?
  /// Why the work rests, for people who wait.
  var activity: String?
  var progress: Int?

  /// A newer document: earlier failures say nothing about it.
  mutating func forgetFailures() {
    failures = 0
    lastFailure = nil
    notBefore = 0
    starts = 0
  }

  /// The guest's processors stand still because a write failed.
  var isPausedByIOError: Bool { actual?.domain?.power == .paused(.ioError) }
}
