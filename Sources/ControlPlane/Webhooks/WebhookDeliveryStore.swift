import AloftModel
import Foundation
import JSON
import Postgres

/// A delivery as the API shows it.
struct WebhookDeliveryRecord: Sendable {
  var id: WebhookDeliveryID
  var webhookID: WebhookID
  var kind: String
  /// What is sent: an event as JSON.
  var body: String
  var state: WebhookDeliveryState
  var dueAt: Date?
  var expiresAt: Date
  var attempts: Int
  /// Attempts since somebody asked for it to be sent again.
  var tries: Int
  var attemptedAt: Date?
  var durationMilliseconds: Int?
  var status: Int?
  var error: WebhookFailure?
  var detail: String?
  var response: String?
  var createdAt: Date

  static let columns: SQL = """
    d.id, d.webhook_id, d.kind, d.body, d.state, d.due_at, d.expires_at, d.attempts, d.tries, d.attempted_at,
    d.duration_ms, d.status, d.error, d.detail, d.response, d.created_at
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    webhookID = try row.get(1)
    kind = try row.get(2)
    body = try row.get(3)
    state = try row.get(4)
    dueAt = try row.get(5)
    expiresAt = try row.get(6)
    attempts = try row.get(7)
    tries = try row.get(8)
    attemptedAt = try row.get(9)
    durationMilliseconds = try row.get(10)
    status = try row.get(11)
    error = try row.get(12)
    detail = try row.get(13)
    response = try row.get(14)
    createdAt = try row.get(15)
  }
}

extension WebhookDeliveryRecord: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("webhook_id", webhookID)
      writer.field("kind", kind)
      writer.field("state", state)
      writer.field("attempts", attempts)
      writer.key("event")
      writer.raw(body)
      writer.field("last_attempt_at", attemptedAt)
      writer.field("next_attempt_at", dueAt)
      writer.field("duration_ms", durationMilliseconds)
      writer.field("status", status)
      if let error {
        writer.objectField("error") { writer in
          writer.field("code", error)
          writer.field("detail", detail ?? "")
        }
      } else {
        writer.field("error", nil as String?)
      }
      writer.field("response", response)
      writer.field("created_at", createdAt)
    }
  }
}

/// The rows of `webhook_deliveries`.
enum WebhookDeliveryStore {
  /// How long deliveries are kept, in days.
  static let keptDays = 7
  /// How many are given up in one statement at most because their time is over.
  private static let mostExpired = 1_000

  /// One event for one webhook.
  struct New: Sendable {
    var id: WebhookDeliveryID
    var webhook: WebhookID
    var kind: String
    var body: String
  }

  /// Makes deliveries, due at once.
  static func insert(_ new: [New], in session: Session) throws {
    guard !new.isEmpty else { return }
    try session.execute(
      """
      INSERT INTO webhook_deliveries (id, webhook_id, kind, body)
      SELECT * FROM unnest(\(new.map(\.id.uuid))::uuid[], \(new.map(\.webhook.uuid))::uuid[], \(new.map(\.kind))::text[],
                           \(new.map(\.body))::text[])
      """)
  }

  static func find(_ id: WebhookDeliveryID, of webhook: WebhookID, in session: Session) throws -> WebhookDeliveryRecord?
  {
    try session.one(
      """
      SELECT \(fragment: WebhookDeliveryRecord.columns) FROM webhook_deliveries d
       WHERE d.id = \(id) AND d.webhook_id = \(webhook)
      """
    ).map { try WebhookDeliveryRecord($0) }
  }

  /// Newest first.
  static func page(
    of webhook: WebhookID, state: WebhookDeliveryState?, before: UUID?, limit: Int, in session: Session
  ) throws -> [WebhookDeliveryRecord] {
    var condition: SQL = "d.webhook_id = \(webhook)"
    if let before { condition.append(" AND d.id < \(before)") }
    if let state { condition.append(" AND d.state = \(state)") }
    return try session.query(
      """
      SELECT \(fragment: WebhookDeliveryRecord.columns) FROM webhook_deliveries d
       WHERE \(fragment: condition) ORDER BY d.id DESC LIMIT \(limit)
      """
    ).map { try WebhookDeliveryRecord($0) }
  }

  /// What is to be sent to a webhook now, oldest first.
  static func due(for webhook: WebhookID, limit: Int, in session: Session) throws -> [WebhookDeliveryRecord] {
    try session.query(
      """
      SELECT \(fragment: WebhookDeliveryRecord.columns) FROM webhook_deliveries d
       WHERE d.webhook_id = \(webhook) AND d.state = 'pending' AND d.due_at <= aloft_now()
       ORDER BY d.due_at, d.id LIMIT \(limit)
      """
    ).map { try WebhookDeliveryRecord($0) }
  }

  /// When something is to be sent to a webhook next.
  static func nextDue(for webhook: WebhookID, in session: Session) throws -> Date? {
    try session.one(
      """
      SELECT due_at FROM webhook_deliveries WHERE webhook_id = \(webhook) AND state = 'pending' ORDER BY due_at LIMIT 1
      """)?.get(0)
  }

  /// Gives up what could not be sent in its time.
  static func giveUpExpired(of webhook: WebhookID, in session: Session) throws {
    try session.execute(
      """
      UPDATE webhook_deliveries SET state = 'failed', due_at = NULL, error = coalesce(error, \(WebhookFailure.expired)),
                                    detail = coalesce(detail, 'its target failed, or the webhook was disabled, for a day')
       WHERE id IN (SELECT id FROM webhook_deliveries
                     WHERE webhook_id = \(webhook) AND state = 'pending' AND due_at <= aloft_now()
                       AND expires_at <= aloft_now()
                     ORDER BY due_at LIMIT \(mostExpired) FOR UPDATE SKIP LOCKED)
      """)
  }

  /// Writes what came of an attempt. Old news, of a replica that was taken for dead, changes nothing but a success.
  static func record(
    _ delivery: WebhookDeliveryRecord, _ result: WebhookResult, next: Date?, in session: Session
  ) throws {
    let state: WebhookDeliveryState = result.isDelivered ? .delivered : next == nil ? .failed : .pending
    try session.execute(
      """
      UPDATE webhook_deliveries SET state = \(state), due_at = \(next), attempts = attempts + 1, tries = tries + 1,
                                    attempted_at = aloft_now(),
                                    duration_ms = \(result.milliseconds), status = \(result.status),
                                    error = \(result.failure), detail = \(result.detail), response = \(result.response)
       WHERE id = \(delivery.id) AND state <> 'delivered'
         AND (attempts = \(delivery.attempts) OR \(result.isDelivered))
      """)
  }

  /// Makes a delivery due again, with all the time that a new one has.
  static func repeatNow(_ id: WebhookDeliveryID, in session: Session) throws {
    try session.execute(
      """
      UPDATE webhook_deliveries SET state = 'pending', tries = 0, due_at = aloft_now(),
                                    expires_at = aloft_now() + interval '1 day'
       WHERE id = \(id)
      """)
  }

  /// Forgets what is older than ``keptDays``.
  static func expire(atMost limit: Int, in session: Session) throws -> Int {
    try session.execute(
      """
      DELETE FROM webhook_deliveries WHERE id IN (
        SELECT id FROM webhook_deliveries
         WHERE created_at < aloft_now() - make_interval(days => \(keptDays)) ORDER BY created_at LIMIT \(limit)
         FOR UPDATE SKIP LOCKED)
      """)
  }
}
