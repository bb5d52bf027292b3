import AloftModel
import Foundation
import Postgres

/// The rows of `webhooks`.
///
/// Locks: webhooks in the order of ids, then their deliveries, then their rows of the work queue. Webhooks go with their project.
enum WebhookStore {
  /// How many webhooks a project may have.
  static let mostInProject = 20

  /// By id or name.
  static func find(_ reference: String, project: ProjectID, in session: Session) throws -> WebhookRecord? {
    let condition: SQL = WebhookID(reference).map { "w.id = \($0)" } ?? "w.name = \(reference)"
    return try session.one(
      """
      SELECT \(fragment: WebhookRecord.columns) FROM webhooks w
       WHERE w.project_id = \(project) AND \(fragment: condition)
      """
    ).map { try WebhookRecord($0) }
  }

  static func find(_ id: WebhookID, in session: Session) throws -> WebhookRecord? {
    try session.one("SELECT \(fragment: WebhookRecord.columns) FROM webhooks w WHERE w.id = \(id)").map {
      try WebhookRecord($0)
    }
  }

  /// The webhook that a call names.
  static func require(_ call: Call, in session: Session) throws -> WebhookRecord {
    let reference = call.string("webhook") ?? ""
    guard let found = try find(reference, project: try ProjectStore.require(call, in: session), in: session) else {
      throw absent(reference)
    }
    return found
  }

  /// Locks the webhook that a call names; the caller's transaction decides about it.
  static func lock(_ call: Call, in session: Session) throws -> WebhookRecord {
    let found = try require(call, in: session)
    guard let locked = try lock(found.id, in: session) else { throw absent(found.name) }
    return locked
  }

  /// Locks a webhook; nil when it is gone.
  static func lock(_ id: WebhookID, in session: Session) throws -> WebhookRecord? {
    guard try session.one("SELECT 1 FROM webhooks WHERE id = \(id) FOR NO KEY UPDATE") != nil else { return nil }
    return try find(id, in: session)
  }

  static func insert(
    _ id: WebhookID, project: ProjectID, name: String, url: String, events: [String], labels: String, enabled: Bool,
    sealedSecret: [UInt8], in session: Session
  ) throws {
    let reason: WebhookDisabling? = enabled ? nil : .user
    try session.execute(
      """
      INSERT INTO webhooks (id, project_id, name, url, events, labels, enabled, disabled_reason, secret)
      VALUES (\(id), \(project), \(name), \(url), \(events)::text[], \(JSONText(labels))::jsonb, \(enabled), \(reason),
              \(sealedSecret))
      """
    ) { error in
      if error.isUniqueViolation("webhooks_project_id_name_key") { return .nameTaken(name, what: "a webhook") }
      return error.isForeignKeyViolation("webhooks_project_id_fkey") ? ProjectStore.absent(project.description) : nil
    }
  }

  static func update(
    _ id: WebhookID, name: String?, url: String?, events: [String]?, labels: String?, in session: Session
  ) throws {
    let labels = labels.map { JSONText($0) }
    try session.execute(
      """
      UPDATE webhooks SET name = coalesce(\(name), name), url = coalesce(\(url), url),
                          events = coalesce(\(events)::text[], events), labels = coalesce(\(labels)::jsonb, labels),
                          revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """, unique: "webhooks_project_id_name_key", else: .nameTaken(name ?? "", what: "a webhook"))
  }

  /// Makes a target a stranger again: what failed before says nothing about it any more.
  static func forgetHealth(_ id: WebhookID, in session: Session) throws {
    try session.execute(
      "UPDATE webhooks SET failures = 0, failing_since = NULL, retry_at = NULL, is_slow = false WHERE id = \(id)")
  }

  /// Only what happens from now on is news to a webhook that is enabled.
  static func enable(_ id: WebhookID, in session: Session) throws {
    try session.execute(
      """
      UPDATE webhooks SET enabled = true, disabled_reason = NULL, since = pg_current_snapshot(),
                          made_in = pg_current_xact_id()
       WHERE id = \(id)
      """)
    try forgetHealth(id, in: session)
  }

  static func disable(_ id: WebhookID, because reason: WebhookDisabling, in session: Session) throws {
    try session.execute(
      """
      UPDATE webhooks SET enabled = false, disabled_reason = \(reason), updated_at = aloft_now(),
                          revision = revision + 1
       WHERE id = \(id)
      """)
  }

  static func rotate(_ id: WebhookID, to sealed: [UInt8], overlapSeconds: Int, in session: Session) throws {
    try session.execute(
      """
      UPDATE webhooks SET previous_secret = CASE WHEN \(overlapSeconds)::int > 0 THEN secret END,
                          previous_expires_at = CASE WHEN \(overlapSeconds)::int > 0
                            THEN aloft_now() + make_interval(secs => \(overlapSeconds)) END,
                          secret = \(sealed), revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(id)
      """)
  }

  static func write(_ health: WebhookHealth, of id: WebhookID, in session: Session) throws {
    try session.execute(
      """
      UPDATE webhooks SET failures = \(health.failures), failing_since = \(health.failingSince),
                          retry_at = \(health.retryAt), is_slow = \(health.isSlow)
       WHERE id = \(id)
      """)
  }

  static func delete(_ id: WebhookID, in session: Session) throws {
    try session.execute("DELETE FROM webhooks WHERE id = \(id)")
    try session.execute("DELETE FROM work WHERE kind = \(WorkKind.webhook.rawValue) AND id = \(id)")
  }

  /// Locks what goes with a project, before it goes in any order.
  static func lockAll(of project: ProjectID, in session: Session) throws {
    try session.execute("SELECT 1 FROM webhooks WHERE project_id = \(project) ORDER BY id FOR UPDATE")
  }

  static func count(in project: ProjectID, in session: Session) throws -> Int {
    try session.one("SELECT count(*) FROM webhooks WHERE project_id = \(project)")?.get(0) ?? 0
  }

  static func page(
    project: ProjectID, name: String?, labels: [VMStore.LabelFilter], after: UUID?, limit: Int, in session: Session
  ) throws -> [WebhookRecord] {
    var condition: SQL = "w.project_id = \(project)"
    if let after { condition.append(" AND w.id > \(after)") }
    if let name { condition.append(" AND w.name = \(name)") }
    for label in labels { condition.append(VMStore.labelCondition("w.labels", label)) }
    return try session.query(
      "SELECT \(fragment: WebhookRecord.columns) FROM webhooks w WHERE \(fragment: condition) ORDER BY w.id LIMIT \(limit)"
    ).map { try WebhookRecord($0) }
  }

  static func absent(_ reference: String) -> Problem {
    Problem(.notFound, "there is no webhook \(reference) in this project; GET /v1/webhooks lists them")
  }
}
