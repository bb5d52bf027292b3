import Foundation
import Logging
import Postgres

/// Forgets what has had its time: idempotency keys after a day, events and ended operations after a month, audit records after
/// more than a year, stream requests that nobody fetched, uploads that a crash cut off.
struct Janitor: Sendable {
  static let tick = Duration.seconds(60)

  let database: Database
  let images: ImageFiles
  let settings: Settings
  let environment: Environment
  let logger: Logger

  /// Rows removed at most in one tick: a backlog shrinks tick by tick instead of failing as a whole.
  private static let most = 50_000
  /// Seconds behind the last byte of an upload after which nobody sends it any more; the server has cut it off long before.
  private static let abandoned = 86_400.0

  func step() async throws {
    try await database.transaction { session in
      _ = try IdempotencyKeys.expire(atMost: Self.most, in: session)
      try EventStore.expire(days: 30, atMost: Self.most, in: session)
      try session.execute(
        """
        DELETE FROM operations WHERE id IN (
          SELECT id FROM operations WHERE finished_at < aloft_now() - make_interval(days => \(settings.keepOperationsDays))
           ORDER BY finished_at LIMIT \(Self.most))
        """)
      try session.execute(
        """
        DELETE FROM audit WHERE id IN (
          SELECT id FROM audit WHERE at < aloft_now() - make_interval(days => \(settings.keepAuditDays))
           ORDER BY at LIMIT \(Self.most))
        """)
      try session.execute("DELETE FROM stream_requests WHERE created_at < aloft_now() - interval '1 minute'")
      // A renewal that met the node's deletion leaves one behind.
      try session.execute(
        "DELETE FROM node_leases l WHERE NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = l.node_id)")
    }
    try await images.removeAbandoned(before: environment.now().addingTimeInterval(-Self.abandoned))
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
