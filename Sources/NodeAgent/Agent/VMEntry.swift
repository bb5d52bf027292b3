import AloftModel

/// What the agent knows of one VM and does for it now.
struct VMEntry: Sendable {
  /// Nil: the control plane has none for this node, and the VM is only reported.
  var document: Assignment?
  var actual: ActualVM?
  /// What there is could not be looked at yet, but it is nothing that was worked on.
  var isUntouched = false
  /// The plan, and the document that it was made for.
  var plan = Plan()
  var planned: Assignment?
  var turn = Turn<Step>()

  /// How often the guest was started in a row without staying up, and when last.
  var starts = 0
  var lastStart = 0

  var stop: StopProgress?
  /// The journal's record that `stop` was made from.
  var stopRecord: VMJournal.Stop?
  /// How long its devices are being waited for.
  var devices = DeviceProgress()
  /// The host ended QEMU: what looks like a power-off of the guest was none.
  var endedByHost = false

  /// What is to be told, and what the control plane has confirmed.
  var observation: Observation?
  var confirmed: Observation?
  /// Per cent of the activity.
  var progress: Int?

  /// A newer document: earlier failures say nothing about it.
  mutating func forgetFailures() {
    turn.forgetFailures()
    starts = 0
  }

  /// The guest's processors stand still because a write failed.
  var isPausedByIOError: Bool { actual?.domain?.power == .paused(.ioError) }
}
