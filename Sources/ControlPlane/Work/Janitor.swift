import Foundation
import Logging
import Postgres

/// Forgets what has had its time: idempotency keys after a day, events after a month, stream requests that nobody fetched.
struct Janitor: Sendable {
  static let tick = Duration.seconds(60)

  let database: Database
  let environment: Environment
  let logger: Logger

  func step() async throws {
    try await database.transaction { session in
      _ = try IdempotencyKeys.expire(in: session)
      _ = try session.execute("DELETE FROM events WHERE at < aloft_now() - interval '30 days'")
      _ = try session.execute("DELETE FROM stream_requests WHERE created_at < aloft_now() - interval '1 minute'")
    }
  }

  /// Runs until cancelled.
  func run() async {
    while !Task.isCancelled {
      do {
        try await environment.sleep(Self.tick)
        try await step()
      } catch is CancellationError {
        return
      } catch {
        logger.warning("what is old could not be removed", metadata: ["error": "\(error)"])
      }
    }
  }
}
