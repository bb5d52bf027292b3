/// How often somebody may call.
public struct RateLimit: Sendable, Equatable {
  /// Calls per second that are sustained.
  public var perSecond: Int
  /// Calls that may come at once after a pause.
  public var burst: Int

  public init(perSecond: Int, burst: Int) {
    self.perSecond = perSecond
    self.burst = burst
  }
}

/// Meters calls by the generic cell rate algorithm (ITU-T I.371): for each caller one number, the time at which everything
/// that was taken would be paid back. A value type without a clock; times are in seconds of any clock that does not go back.
///
/// Invariants:
/// - Whoever keeps to the rate is never refused; what is refused costs the caller nothing.
/// - Memory is bounded by ``capacity``, whatever number of callers there is: who comes when it is full shares one meter with
///   all who do.
struct RateMeter<Key: Hashable & Sendable>: Sendable {
  struct Verdict: Sendable, Equatable {
    var isAllowed: Bool
    /// How many calls may follow at once.
    var remaining: Int
    /// Until there is room for one call, in seconds; 0 when there is.
    var wait: Double
    /// Until nothing is owed any more, in seconds.
    var reset: Double
  }

  let limit: RateLimit
  /// The most callers that are told apart.
  let capacity: Int
  /// Two halves, so that what is paid back is forgotten without looking at each: the older one is dropped as a whole when
  /// all in it must be paid back.
  private var recent: [Key: Double] = [:]
  private var older: [Key: Double] = [:]
  private var turnsAt = -Double.infinity
  private var shared = 0.0

  init(_ limit: RateLimit, capacity: Int) {
    self.limit = limit
    self.capacity = capacity
  }

  private var interval: Double { 1 / Double(limit.perSecond) }
  private var window: Double { Double(limit.burst) * interval }

  /// How many callers are told apart now.
  var count: Int { recent.count + older.count }

  /// Takes one call, if there is room for it.
  mutating func take(_ key: Key, at now: Double) -> Verdict {
    turn(now)
    let due = max(recent[key] ?? older[key] ?? (isFull ? shared : 0), now)
    let after = due + interval
    guard after - now <= window + interval / 1000 else { return verdict(due, at: now, isAllowed: false) }
    if recent[key] != nil || !isFull {
      recent[key] = after
    } else if older[key] != nil {
      older[key] = after
    } else {
      shared = after
    }
    return verdict(after, at: now, isAllowed: true)
  }

  /// How the caller stands, without taking anything.
  mutating func look(_ key: Key, at now: Double) -> Verdict {
    turn(now)
    let due = max(recent[key] ?? older[key] ?? (isFull ? shared : 0), now)
    return verdict(due, at: now, isAllowed: due + interval - now <= window + interval / 1000)
  }

  private var isFull: Bool { recent.count >= capacity / 2 }

  private mutating func turn(_ now: Double) {
    guard now >= turnsAt else { return }
    // After a pause of more than a window nothing is owed by anybody.
    older = now - turnsAt < window ? recent : [:]
    recent = [:]
    turnsAt = now + window
  }

  private func verdict(_ due: Double, at now: Double, isAllowed: Bool) -> Verdict {
    let owed = due - now
    return Verdict(
      isAllowed: isAllowed, remaining: max(0, Int((window - owed) / interval + 0.001)),
      wait: max(0, owed + interval - window), reset: max(0, owed))
  }
}
