import AloftModel

/// What the agent works on.
enum Subject: Sendable, Hashable {
  case vm(VMID)
  case volume(VolumeID)
}

/// How far the work on one VM or volume is, and what became of it.
struct Turn<Step: Sendable & Equatable>: Sendable {
  enum Work: Sendable, Equatable {
    case idle
    case queued
    case inspecting
    case performing(Step)
  }

  var work = Work.idle
  /// Something changed while work was under way: look again before going on.
  var isDirty = false
  /// Uptime at which to look again though nothing happened.
  var wakeAt: Int?
  /// Whom nobody else works on meanwhile.
  var locks: Set<Subject> = []

  var failures = 0
  var lastFailure: AgentFailure?
  /// Uptime before which nothing is tried again.
  var notBefore = 0

  /// Why the work rests, for people who wait.
  var activity: String?

  /// A newer document, or a success: earlier failures say nothing about it.
  mutating func forgetFailures() {
    failures = 0
    lastFailure = nil
    notBefore = 0
  }

  mutating func fail(_ failure: AgentFailure, doing what: String, _ now: AgentTime, _ random: inout SplitMix) {
    failures += 1
    lastFailure = failure
    let delay: Int
    switch failure.kind {
    case .hypervisorUnavailable: delay = 1_000
    case .changedMeanwhile, .volumeInUse: delay = min(50 << min(failures, 10), 10_000)
    default: delay = AgentMachine.retry.delay(after: failures, &random)
    }
    notBefore = now.uptime + delay
    wakeAt = notBefore
    activity = "\(what) failed, trying again: \(failure.detail)"
  }
}

extension AgentMachine {
  /// It is to be looked at.
  mutating func touch(_ subject: Subject) {
    switch subject {
    case .vm(let vm):
      guard isSynchronized || vms[vm]?.document != nil, var entry = vms[vm] else { return }
      touch(&entry.turn, subject)
      vms[vm] = entry
    case .volume(let volume):
      guard var entry = volumes[volume] else { return }
      touch(&entry.turn, subject)
      volumes[volume] = entry
    }
  }

  mutating func touch<Step>(_ turn: inout Turn<Step>, _ subject: Subject) {
    turn.wakeAt = nil
    if turn.work == .idle {
      turn.work = .queued
      queue.append(subject)
    } else if turn.work != .queued {
      turn.isDirty = true
    }
  }

  /// Starts looks at what waits, as far as the limit allows and nobody works on the same.
  mutating func startLooks(_ uptime: Int, _ effects: inout [AgentEffect]) {
    guard isSynchronized else { return }
    var waiting: [Subject] = []
    var rest = queue[...]
    while running < options.parallelSteps, let subject = rest.popFirst() {
      let hasLeft =
        switch subject {
        case .vm(let vm): startLook(vm, uptime, &effects)
        case .volume(let volume): startLook(volume, uptime, &effects)
        }
      if !hasLeft { waiting.append(subject) }
    }
    queue = waiting + rest
  }

  /// Begins a look; false if somebody works on the same.
  mutating func begin<Step>(_ turn: inout Turn<Step>, locking subjects: Set<Subject>) -> Bool {
    guard locks.isDisjoint(with: subjects) else { return false }
    locks.formUnion(subjects)
    turn.locks = subjects
    turn.work = .inspecting
    turn.isDirty = false
    running += 1
    return true
  }

  /// Nothing is done any more.
  mutating func end<Step>(_ turn: inout Turn<Step>) {
    locks.subtract(turn.locks)
    turn.locks = []
    turn.work = .idle
  }

  /// Nothing is done any more for now, and it is to be looked at again as soon as that can be.
  mutating func queueAgain<Step>(_ turn: inout Turn<Step>, _ subject: Subject, first: Bool = false) {
    end(&turn)
    turn.work = .queued
    if first { queue.insert(subject, at: 0) } else { queue.append(subject) }
  }
}
