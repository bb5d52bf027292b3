import Glibc

/// The two clocks of the agent, in milliseconds.
public struct AgentTime: Sendable, Hashable {
  /// Since the host booted, sleep included; never goes back. All waiting is by this one.
  public var uptime: Int
  /// Since 1970; may jump. Only for what outlives the process: the journal, certificates, sequences.
  public var wall: Int

  public init(uptime: Int, wall: Int) {
    self.uptime = uptime
    self.wall = wall
  }
}

/// Tells the time and waits. A simulation brings its own.
public protocol AgentClock: Sendable {
  func now() -> AgentTime
  /// Returns when `uptime` is reached. Throws `CancellationError` when the task is cancelled.
  func sleep(until uptime: Int) async throws
}

/// The host's clocks.
public struct SystemClock: AgentClock {
  public init() {}

  public func now() -> AgentTime {
    AgentTime(uptime: Self.milliseconds(CLOCK_BOOTTIME), wall: Self.milliseconds(CLOCK_REALTIME))
  }

  public func sleep(until uptime: Int) async throws {
    let wait = uptime - now().uptime
    if wait > 0 { try await Task.sleep(for: .milliseconds(wait)) }
  }

  private static func milliseconds(_ clock: clockid_t) -> Int {
    var time = timespec()
    clock_gettime(clock, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
  }
}

/// Waiting times that double, with jitter so that a thousand agents do not come back in one instant.
struct Backoff: Sendable {
  var first: Int
  var limit: Int

  /// How long to wait after `failures` failures in a row.
  func delay(after failures: Int, _ random: inout SplitMix) -> Int {
    let delay = min(limit, first << min(max(failures - 1, 0), 20))
    return delay - Int(random.next() % UInt64(max(1, delay / 4)))
  }
}

/// A small deterministic generator (Steele, Lea and Flood, 2014): a seed gives the same run again.
public struct SplitMix: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }
}
