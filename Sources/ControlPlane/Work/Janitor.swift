import Execution
import Foundation
import Logging
import Postgres

/// Forgets what has had its time: idempotency keys after a day, events and ended operations after a month, API tokens a month behind
/// their end, sessions that have ended, audit records when their owner says (`audit_retention`), deliveries to webhooks after a week, stream requests that
/// nobody fetched, uploads that nobody has gone on with for a week and what a crash left in the image store.
///
/// Every replica has one; at any time one of them works. Each transaction is small, because a long one holds back what
/// readers of events may see.
struct Janitor: Sendable {
  static let tick = Duration.seconds(60)

  let database: Database
  let images: ImageContents
  let settings: Settings
  let environment: Environment
  let logger: Logger

  /// Rows removed at most in one transaction.
  private static let batch = 5_000
  /// Transactions for one table at most in one tick: a backlog shrinks tick by tick.
  private static let mostBatches = 20
  /// The advisory lock of whoever removes; nothing else takes it.
  private static let lock: Int64 = 0x616c_6f66_746a
  /// Seconds behind the last byte after which what no row names in the image store is nobody's.
  private static let abandoned = 86_400.0

  func step() async throws {
    try await remove { session in try IdempotencyKeys.expire(atMost: Self.batch, in: session) }
    try await remove { [settings] session in
      try EventStore.expire(days: settings.keepEventsDays, atMost: Self.batch, in: session)
    }
    try await remove { [settings] session in
      try session.execute(
        """
        DELETE FROM operations WHERE id IN (
          SELECT id FROM operations WHERE finished_at < aloft_now() - make_interval(days => \(settings.keepOperationsDays))
           ORDER BY finished_at LIMIT \(Self.batch) FOR UPDATE SKIP LOCKED)
        """)
    }
    try await remove { session in try session.one("SELECT aloft_forget_audit(\(Self.batch)::integer)")?.get(0) ?? 0 }
    try await remove { session in
      try session.execute(
        """
        DELETE FROM stream_requests WHERE id IN (
          SELECT id FROM stream_requests WHERE created_at < aloft_now() - interval '1 minute'
           ORDER BY id LIMIT \(Self.batch) FOR UPDATE SKIP LOCKED)
        """)
    }
    try await remove { session in try TokenStore.expire(atMost: Self.batch, in: session) }
    try await remove { [settings] session in
      try SessionStore.expire(idleSeconds: settings.sessions.idleSeconds, atMost: Self.batch, in: session)
    }
    try await remove { session in try SessionStore.expireSites(atMost: Self.batch, in: session) }
    try await remove { session in try UsedLogins.expire(atMost: Self.batch, in: session) }
    try await remove { session in try WebhookDeliveryStore.expire(atMost: Self.batch, in: session) }
    try await remove { session in try AddressRest.end(atMost: Self.batch, in: session) }
    try await remove { session in
      // Nobody has carried changes over for long; whoever begins to does so with everything.
      try session.execute(
        """
        DELETE FROM network_changes WHERE seq IN (
          SELECT h.seq FROM network_changes h, network_controller c
           WHERE c.seen_at < aloft_now() - interval '1 hour' AND h.at < aloft_now() - interval '1 hour'
           ORDER BY h.seq LIMIT \(Self.batch) FOR UPDATE OF h SKIP LOCKED)
        """)
    }
    // A renewal that met the node's deletion leaves one behind.
    try await remove { session in
      try session.execute(
        """
        DELETE FROM node_leases WHERE node_id IN (
          SELECT l.node_id FROM node_leases l WHERE NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = l.node_id)
           ORDER BY l.node_id LIMIT \(Self.batch) FOR UPDATE SKIP LOCKED)
        """)
    }
    try await removeUploads()
  }

  private func removeUploads() async throws {
    let expired = Lock<[ImageUploadRecord]>([])
    try await remove { session in
      let records = try ImageUploadStore.expire(atMost: Self.batch, in: session)
      expired.withLock { $0 += records }
      return records.count
    }
    for upload in expired.withLock({ $0 }) { await images.discard(upload.content, state: upload.state) }
    let states = try await database.query("SELECT state FROM image_uploads").map { try $0.get(0, as: String.self) }
    try await images.removeLeftovers(before: environment.now().addingTimeInterval(-Self.abandoned), but: states)
  }

  /// Repeats `delete`, which returns how many rows it removed, while batches are full and no other replica is at work.
  private func remove(_ delete: @escaping @Sendable (Session) throws -> Int) async throws {
    for _ in 0..<Self.mostBatches {
      try Task.checkCancellation()
      let removed = try await database.transaction { session -> Int in
        let isMine = try session.one("SELECT pg_try_advisory_xact_lock(\(Self.lock)::bigint)")?.get(0, as: Bool.self)
        return isMine == true ? try delete(session) : 0
      }
      if removed < Self.batch { return }
    }
  }

  /// Runs until cancelled.
  func run() async {
    await environment.repeating(every: Self.tick, orWarn: "what is old could not be removed", logger) {
      try await step()
    }
  }
}
