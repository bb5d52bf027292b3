import Glibc

extension ConfigFile {
  /// How long to wait for another `aloft`, which may wait for an issuer.
  private static let patience = Duration.seconds(60)

  /// Reads the file, lets `change` change what is in it, and writes that: one process at a time, so no change is lost.
  func update<Value: Sendable>(
    _ surroundings: Surroundings, _ change: (inout KnownClouds) async throws(CommandFailure) -> Value
  ) async throws(CommandFailure) -> Value {
    let lock = try await locked(surroundings)
    defer { close(lock) }
    let before = try await read()
    var clouds = before
    let value = try await change(&clouds)
    if clouds != before { try await write(clouds) }
    return value
  }

  /// A descriptor that holds the lock until it is closed. The file that is locked is never removed: another process could
  /// hold the lock on the one that is gone.
  private func locked(_ surroundings: Surroundings) async throws(CommandFailure) -> Int32 {
    let descriptor = try await openedLock()
    let end = surroundings.uptime() + Self.patience
    // `flock` with LOCK_NB does not block.
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard !Task.isCancelled, surroundings.uptime() < end else {
        close(descriptor)
        if Task.isCancelled { throw .interrupted }
        throw CommandFailure(.usage, "another aloft holds \(path).lock", hint: "Wait for it to end, or end it.")
      }
      await surroundings.sleep(.milliseconds(50))
    }
    return descriptor
  }
}
