import AloftModel
import Foundation

/// The effects that rules must not reach for themselves: time, randomness, sleep. A simulation passes its own.
public struct Environment: Sendable {
  /// The wall clock, for what is shown and for ids. What expires is judged by the database's clock alone.
  public var now: @Sendable () -> Date
  /// Seconds of a clock that never goes back, for how long something takes: the wall clock may be set at any time.
  public var uptime: @Sendable () -> TimeInterval
  /// 64 random bits, unpredictable in production.
  public var random: @Sendable () -> UInt64
  /// Waits; throws `CancellationError` when the task is cancelled.
  public var sleep: @Sendable (Duration) async throws -> Void

  /// - Parameter uptime: nil where `now` never goes back, and serves for both.
  public init(
    now: @escaping @Sendable () -> Date, uptime: (@Sendable () -> TimeInterval)? = nil,
    random: @escaping @Sendable () -> UInt64, sleep: @escaping @Sendable (Duration) async throws -> Void
  ) {
    self.now = now
    self.uptime = uptime ?? { now().timeIntervalSinceReferenceDate }
    self.random = random
    self.sleep = sleep
  }

  /// The machine's own clock and random numbers.
  public static let live = Environment(
    now: { Date() },
    uptime: { TimeInterval(DispatchTime.now().uptimeNanoseconds) / 1e9 },
    random: {
      var generator = SystemRandomNumberGenerator()
      return generator.next()
    },
    sleep: { try await Task.sleep(for: $0) })

  /// A fresh UUIDv7: ids made later sort behind.
  public func newUUID() -> UUID {
    UUID.v7(milliseconds: UInt64(max(0, now().timeIntervalSince1970 * 1000)), random: (random(), random()))
  }

  /// `count` × 64 random bits in hexadecimal, for secrets.
  func newSecret(words count: Int) -> String {
    (0..<count).map { _ in
      let text = String(random(), radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }.joined()
  }
}
