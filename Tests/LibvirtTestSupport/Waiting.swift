/// What was waited for did not come.
public struct WaitedTooLong: Error, CustomStringConvertible {
  public let description: String
}

/// Checks `condition` until it gives a value, for at most `seconds`; the deadline only ends a test that would fail anyway.
public func eventually<Value>(
  _ what: String, within seconds: Int = 60, _ condition: () async throws -> Value?
) async throws -> Value {
  let deadline = ContinuousClock.now + .seconds(seconds)
  while true {
    if let value = try await condition() { return value }
    guard ContinuousClock.now < deadline else { throw WaitedTooLong(description: "no \(what) within \(seconds) s") }
    try await Task.sleep(for: .milliseconds(10))
  }
}
