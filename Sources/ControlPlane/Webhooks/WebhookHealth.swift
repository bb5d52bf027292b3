import AloftModel
import Foundation

/// How a webhook's target does, and what follows from it for all that is sent there.
///
/// Rules:
/// - While attempts fail, one delivery at a time is tried, with a growing pause before the next: a dead target costs little,
///   however much waits for it.
/// - Nothing delivered and something failed for ``patience``: the webhook is disabled. So it is when the target answers 410.
struct WebhookHealth: Sendable, Equatable {
  /// Attempts that failed one after another.
  var failures = 0
  /// When the first of them failed.
  var failingSince: Date?
  /// Nothing is sent before.
  var retryAt: Date?
  /// Whether the last answer took long: such targets share their turns with those that fail, and hold up no others.
  var isSlow = false

  /// Seconds without a single success, but with failures, after which a webhook is disabled.
  static let patience: TimeInterval = 3 * 86_400
  /// Seconds that the pause between attempts grows to.
  static let longestPause: TimeInterval = 60
  /// Milliseconds from which on an answer takes long.
  static let slowMilliseconds = 2_000

  /// What an attempt was.
  enum Outcome: Sendable, Equatable {
    case delivered
    case failed
    /// The target answered 410.
    case gone
    /// Aloft could not send: that says nothing about the target.
    case unsent
  }

  /// Takes an attempt into account. Returns why the webhook is to be disabled, if so.
  mutating func record(_ outcome: Outcome, milliseconds: Int, at now: Date) -> WebhookDisabling? {
    isSlow = milliseconds >= Self.slowMilliseconds
    guard outcome != .delivered else {
      (failures, failingSince, retryAt) = (0, nil, nil)
      return nil
    }
    if outcome == .unsent {
      retryAt = now.addingTimeInterval(Self.longestPause)
      return nil
    }
    failures += 1
    let since = failingSince ?? now
    failingSince = since
    let pause = min(Self.longestPause, TimeInterval(1 << min(failures - 1, 16)))
    retryAt = now.addingTimeInterval(pause)
    if outcome == .gone { return .gone }
    return now.timeIntervalSince(since) >= Self.patience ? .failing : nil
  }
}

/// When a delivery that failed is tried again.
enum WebhookSchedule {
  /// Seconds behind each attempt: about a day in all.
  static let pauses: [TimeInterval] = [
    5, 30, 120, 600, 1_800, 3_600, 7_200, 10_800, 14_400, 14_400, 14_400, 14_400,
  ]

  /// When to try again behind attempt number `attempts`; nil: not any more. Each pause is between 0.8 and 1.2 of its measure, so
  /// that what failed together does not come back together.
  static func next(afterAttempt attempts: Int, at now: Date, expires: Date, random: UInt64) -> Date? {
    let pause = pauses[min(max(attempts, 1), pauses.count) - 1]
    let share = 0.8 + 0.4 * Double(random >> 11) / Double(1 << 53)
    let next = now.addingTimeInterval(pause * share)
    return next < expires ? next : nil
  }
}
