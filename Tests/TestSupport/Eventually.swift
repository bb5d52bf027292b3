/// Waits until `condition` holds, looking every few milliseconds; throws when it did not within `limit`.
///
/// For what happens by itself and has no event to wait for. The limit is generous because machines are slow: a test that
/// passes does not wait for it.
public func eventually(
  _ what: String, within limit: Duration = .seconds(20), _ condition: @Sendable () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  while try await !condition() {
    if ContinuousClock.now >= deadline { throw NeverHappened(what: what, limit: limit) }
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// What was waited for did not happen.
public struct NeverHappened: Error, CustomStringConvertible {
  public let what: String
  public let limit: Duration

  public var description: String { "\(what): did not happen within \(limit)" }
}
