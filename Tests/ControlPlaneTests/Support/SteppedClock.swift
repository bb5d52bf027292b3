import Execution
import Foundation

@testable import ControlPlane

/// A clock that stands still until it is moved.
final class SteppedClock: Sendable {
  private let seconds = Lock(0.0)
  private let start = Date()

  func advance(by seconds: TimeInterval) { self.seconds.withLock { $0 += seconds } }

  /// Its uptime is moved; the wall clock stands, so what has an end by it does not end.
  var environment: Environment {
    let (seconds, start) = (seconds, start)
    return Environment(
      now: { start }, uptime: { 1000 + seconds.withLock { $0 } }, random: Environment.live.random,
      sleep: Environment.live.sleep)
  }
}
