import AloftModel
import Foundation
import JSON
import Postgres

/// An API token as the API shows it.
struct TokenRecord: Sendable, JSONWritable {
  var id: APITokenID
  var description: String
  var userID: UserID
  var user: String
  var projectID: ProjectID?
  var project: String?
  var role: ProjectRole?
  var expiresAt: Date?
  var lastUsedAt: Date?
  var revision: Int
  var createdAt: Date
  /// Only in the answer that made it.
  var secret: String?

  var etag: String { "\"\(revision)\"" }

  static let columns: SQL = """
    t.id, t.description, t.user_id, a.name, t.project_id, p.name, t.project_role, t.expires_at, t.last_used_at, t.revision,
    t.created_at
    """
  static let source: SQL = "api_tokens t JOIN users a ON a.id = t.user_id LEFT JOIN projects p ON p.id = t.project_id"

  init(_ row: Row) throws {
    id = try row.get(0)
    description = try row.get(1)
    userID = try row.get(2)
    user = try row.get(3)
    projectID = try row.get(4)
    project = try row.get(5)
    role = try row.get(6)
    expiresAt = try row.get(7)
    lastUsedAt = try row.get(8)
    revision = try row.get(9)
    createdAt = try row.get(10)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("description", description)
      writer.field("user_id", userID)
      writer.field("user", user)
      writer.field("project_id", projectID)
      writer.field("project", project)
      writer.field("role", role)
      writer.field("expires_at", expiresAt)
      writer.field("last_used_at", lastUsedAt)
      writer.field("created_at", createdAt)
      writer.fieldIfPresent("secret", secret)
    }
  }
}

/// The rows of `api_tokens`.
enum TokenStore {
  /// How many a user may have.
  static let mostOfOneUser = 100
  /// For how long it can be seen that a token has expired.
  static let keptDays = 30

  /// Which tokens the caller may see and revoke: its own, with a token for one project those that it could have made; all,
  /// when it may change users.
  static func visible(to principal: Principal) -> SQL {
    if principal.cloudRole?.holds(.userWrite) == true { return "true" }
    guard let limit = principal.limit else { return "t.user_id = \(principal.user)" }
    let roles = ProjectRole.allCases.filter { $0 <= limit.role }.map(\.rawValue)
    return """
      t.user_id = \(principal.user) AND t.project_id = \(limit.project) AND t.project_role = ANY(\(roles))
      """
  }

  static func find(_ id: APITokenID, visibleTo principal: Principal, in session: Session) throws -> TokenRecord? {
    try session.one(
      """
      SELECT \(fragment: TokenRecord.columns) FROM \(fragment: TokenRecord.source)
       WHERE t.id = \(id) AND \(fragment: visible(to: principal))
      """
    ).map { try TokenRecord($0) }
  }

  static func page(
    of user: UserID, visibleTo principal: Principal, after: UUID?, limit: Int, in session: Session
  ) throws -> [TokenRecord] {
    try session.query(
      """
      SELECT \(fragment: TokenRecord.columns) FROM \(fragment: TokenRecord.source)
       WHERE t.user_id = \(user) AND \(fragment: visible(to: principal))
         AND (\(after)::uuid IS NULL OR t.id > \(after)) ORDER BY t.id LIMIT \(limit)
      """
    ).map { try TokenRecord($0) }
  }

  static func insert(
    _ id: APITokenID, secret: String, _ token: NewToken, in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO api_tokens (id, secret_hash, description, user_id, project_id, project_role, expires_at)
      VALUES (\(id), \(Secret.hash(secret)), \(token.description), \(token.user), \(token.limit?.project), \(token.limit?.role),
              aloft_now() + make_interval(secs => \(token.seconds.map(Double.init))))
      """)
  }

  /// Makes sure that the user may have one more. The caller has locked the user; expired tokens make room.
  static func requireRoom(for user: UserID, in session: Session) throws {
    func count() throws -> Int {
      try session.one("SELECT count(*) FROM api_tokens WHERE user_id = \(user)")?.get(0) ?? 0
    }
    if try count() < mostOfOneUser { return }
    try session.execute("DELETE FROM api_tokens WHERE user_id = \(user) AND expires_at <= aloft_now()")
    if try count() < mostOfOneUser { return }
    throw Problem(.limitReached, "the user has \(mostOfOneUser) tokens, which is the most; delete those not in use")
  }

  /// Removes tokens that ended long ago. Returns how many.
  static func expire(atMost limit: Int, in session: Session) throws -> Int {
    try session.execute(
      """
      DELETE FROM api_tokens WHERE id IN (
        SELECT id FROM api_tokens WHERE expires_at < aloft_now() - make_interval(days => \(keptDays))
         ORDER BY expires_at LIMIT \(limit) FOR UPDATE SKIP LOCKED)
      """)
  }
}
