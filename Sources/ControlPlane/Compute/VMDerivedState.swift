import AloftModel

/// A VM's state as users see it, with the reason for it or what it waits for.
struct VMDerivedState: Sendable, Equatable {
  var state: VMState
  var reason: String?

  /// The one total function from what was asked for and what was seen to what users see.
  static func of(_ facts: VMFacts) -> VMDerivedState {
    guard let host = facts.host else {
      return facts.intent.deleted
        ? VMDerivedState(state: .deleting)
        : VMDerivedState(
          state: .failed,
          reason: "its node was removed; start it if all of its volumes are in shared pools, else delete it")
    }
    let silence = host.alive ? nil : "node \(host.name) does not report"
    if facts.intent.deleted { return VMDerivedState(state: .deleting, reason: silence ?? progress(facts.current)) }
    if let silence { return VMDerivedState(state: .unknown, reason: silence) }
    guard let seen = facts.current else {
      return VMDerivedState(state: .creating, reason: "waiting for node \(host.name) to begin")
    }
    return switch facts.intent.desiredPower {
    case .running: wantsToRun(seen, facts)
    case .stopped: wantsToStop(seen, facts)
    }
  }

  private static func wantsToRun(_ seen: VMObserved, _ facts: VMFacts) -> VMDerivedState {
    switch seen.power {
    case .running:
      facts.pendingRequests.isEmpty
        ? VMDerivedState(state: .running, reason: seen.problem?.detail)
        : VMDerivedState(state: .rebooting, reason: progress(seen))
    case .absent, .stopped, .paused, .crashed:
      if seen.guestStopped && seen.generation >= facts.intent.generation {
        VMDerivedState(state: .stopped, reason: "the guest turned itself off")
      } else if seen.obstacle != nil {
        VMDerivedState(state: .failed, reason: progress(seen))
      } else {
        VMDerivedState(
          state: seen.power == .absent ? .creating : .starting,
          reason: progress(seen) ?? (seen.power == .crashed ? "it crashed and is started again" : nil))
      }
    }
  }

  private static func wantsToStop(_ seen: VMObserved, _ facts: VMFacts) -> VMDerivedState {
    switch seen.power {
    case .running, .paused: VMDerivedState(state: .stopping, reason: progress(seen))
    case .stopped, .crashed, .absent:
      if seen.generation < facts.intent.generation {
        VMDerivedState(state: .stopping, reason: progress(seen))
      } else if seen.obstacle != nil {
        VMDerivedState(state: .failed, reason: progress(seen))
      } else if seen.power == .absent {
        VMDerivedState(state: .creating, reason: progress(seen))
      } else {
        // What may be told is that the guest did not go by itself.
        VMDerivedState(state: .stopped, reason: seen.problem?.detail)
      }
    }
  }

  private static func progress(_ seen: VMObserved?) -> String? {
    guard let seen else { return nil }
    if let problem = seen.problem { return problem.detail }
    guard let activity = seen.activity else { return nil }
    return seen.progress.map { "\(activity) (\($0) %)" } ?? activity
  }
}
