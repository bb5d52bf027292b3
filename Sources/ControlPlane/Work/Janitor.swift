import Foundation
import Logging
import Postgres

/// Forgets what has had its time: idempotency keys after a day, events after a month, stream requests that nobody fetched.
struct Janitor: Sendable {
  static let tick = Duration.seconds(60)

  let database: Database
  let environment: Environment
  let logger: Logger

  /// Rows removed at most in one tick: a backlog shrinks tick by tick instead of failing as a whole.
  private static let most = 50_000

  func step() async throws {
    try await database.transaction { session in
      _ = try IdempotencyKeys.expire(atMost: Self.most, in: session)
      try EventStore.expire(days: 30, atMost: Self.most, in: session)
      try session.execute("DELETE FROM stream_requests WHERE created_at < aloft_now() - interval '1 minute'")
      // A renewal that met the node's deletion leaves one behind.
      try session.execute(
        "DELETE FROM node_leases l WHERE NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = l.node_id)")
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
