import AloftModel
import Foundation
import JSON
import Postgres

/// A webhook as the API shows it.
struct WebhookRecord: Sendable {
  var id: WebhookID
  var projectID: ProjectID
  var name: String
  var url: String
  var events: [String]
  /// A JSON object, passed through.
  var labels: String
  var enabled: Bool
  var disabledReason: WebhookDisabling?
  var sealedSecret: [UInt8]
  /// The secret before, while it is still signed with.
  var sealedPrevious: [UInt8]?
  var previousExpiresAt: Date?
  var health: WebhookHealth
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  /// Shown once.
  var secret: WebhookSecret?

  var etag: String { "\"\(revision)\"" }
  var filter: WebhookFilter { WebhookFilter(patterns: events) }

  static let columns: SQL = """
    w.id, w.project_id, w.name, w.url, w.events, w.labels, w.enabled, w.disabled_reason, w.secret,
    CASE WHEN w.previous_expires_at > aloft_now() THEN w.previous_secret END,
    CASE WHEN w.previous_expires_at > aloft_now() THEN w.previous_expires_at END,
    w.failures, w.failing_since, w.retry_at, w.is_slow, w.revision, w.created_at, w.updated_at
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    projectID = try row.get(1)
    name = try row.get(2)
    url = try row.get(3)
    events = try row.get(4)
    labels = try row.get(5, as: JSONText.self).text
    enabled = try row.get(6)
    disabledReason = try row.get(7)
    sealedSecret = try row.get(8)
    sealedPrevious = try row.get(9)
    previousExpiresAt = try row.get(10)
    health = WebhookHealth(
      failures: try row.get(11), failingSince: try row.get(12), retryAt: try row.get(13), isSlow: try row.get(14))
    revision = try row.get(15)
    createdAt = try row.get(16)
    updatedAt = try row.get(17)
  }
}

extension WebhookRecord: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", projectID)
      writer.field("url", url)
      writer.field("events", events)
      writer.key("labels")
      writer.raw(labels)
      writer.field("enabled", enabled)
      writer.field("disabled_reason", disabledReason)
      writer.field("failing_since", health.failingSince)
      writer.field("previous_secret_expires_at", previousExpiresAt)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
      writer.fieldIfPresent("secret", secret?.text)
    }
  }
}
