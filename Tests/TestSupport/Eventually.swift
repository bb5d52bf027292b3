/// Waits until `condition` holds, looking every few milliseconds; throws when it did not within `limit`.
///
/// For what happens by itself and has no event to wait for. The limit is generous because machines are slow: a test that
/// passes does not wait for it.
public func eventually(
  _ what: String, within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async throws {
  _ = try await found(what, within: limit) { try await condition() ? true : nil }
}

/// Waits until there is a value and returns it; otherwise ``eventually(_:within:_:)``.
@discardableResult
public func found<Value>(
  _ what: String, within limit: Duration = .seconds(60), _ look: () async throws -> Value?
) async throws -> Value {
  let deadline = ContinuousClock.now + limit
  while true {
    if let value = try await look() { return value }
    if ContinuousClock.now >= deadline { throw NeverHappened(what: what, limit: limit) }
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// Waits until a value that moves has come to rest: it is there and the same in many looks, one after another. For what stops
/// because somebody else has to act, and has no event that says so.
public func settled<Value: Equatable>(
  _ what: String, within limit: Duration = .seconds(20), _ look: () async throws -> Value?
) async throws -> Value {
  var (last, same): (Value?, Int) = (nil, 0)
  return try await found(what, within: limit) {
    let now = try await look()
    same = now == last ? same + 1 : 0
    last = now
    return same >= 10 ? now : nil
  }
}

/// What was waited for did not happen.
public struct NeverHappened: Error, CustomStringConvertible {
  public let what: String
  public let limit: Duration

  public var description: String { "\(what): did not happen within \(limit)" }
}
