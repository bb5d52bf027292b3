import AloftModel
import Foundation
import JSON
import Postgres

/// A user's role in a project, as the API shows it.
struct MemberRecord: Sendable, JSONWritable {
  var userID: UserID
  var userName: String
  var kind: UserKind
  var role: ProjectRole
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  var etag: String { "\"\(revision)\"" }

  static let columns: SQL = "m.user_id, a.name, a.kind, m.role, m.revision, m.created_at, m.updated_at"

  init(_ row: Row) throws {
    userID = try row.get(0)
    userName = try row.get(1)
    kind = try row.get(2)
    role = try row.get(3)
    revision = try row.get(4)
    createdAt = try row.get(5)
    updatedAt = try row.get(6)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("user_id", userID)
      writer.field("user_name", userName)
      writer.field("kind", kind)
      writer.field("role", role)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// The rows of `project_members`. Who writes them has locked the project (``ProjectStore/Purpose/members``).
enum MemberStore {
  /// By the user's id or name.
  static func find(_ reference: String, project: ProjectID, in session: Session) throws -> MemberRecord? {
    try session.one(
      """
      SELECT \(fragment: MemberRecord.columns) FROM project_members m JOIN users a ON a.id = m.user_id
       WHERE m.project_id = \(project) AND \(fragment: isNamed(reference))
      """
    ).map { try MemberRecord($0) }
  }

  /// The user whom a call names, kept from being deleted until the transaction has ended.
  static func keepUser(_ reference: String, in session: Session) throws -> UserID {
    let sql: SQL = "SELECT a.id FROM users a WHERE \(fragment: isNamed(reference)) FOR KEY SHARE"
    guard let row = try session.one(sql) else {
      throw Problem(
        .notFound, "there is no user \(reference)",
        errors: [.init(code: .notFound, detail: "unknown", parameter: "user")])
    }
    return try row.get(0)
  }

  static func page(project: ProjectID, after: UUID?, limit: Int, in session: Session) throws -> [MemberRecord] {
    try session.query(
      """
      SELECT \(fragment: MemberRecord.columns) FROM project_members m JOIN users a ON a.id = m.user_id
       WHERE m.project_id = \(project) AND (\(after)::uuid IS NULL OR m.user_id > \(after))
       ORDER BY m.user_id LIMIT \(limit)
      """
    ).map { try MemberRecord($0) }
  }

  static func insert(_ user: UserID, project: ProjectID, role: ProjectRole, in session: Session) throws {
    try session.execute(
      "INSERT INTO project_members (project_id, user_id, role) VALUES (\(project), \(user), \(role))")
  }

  static func update(_ user: UserID, project: ProjectID, role: ProjectRole, in session: Session) throws {
    try session.execute(
      """
      UPDATE project_members
         SET role = \(role), revision = nextval('project_member_revisions'), updated_at = aloft_now()
       WHERE project_id = \(project) AND user_id = \(user)
      """)
  }

  static func delete(_ user: UserID, project: ProjectID, in session: Session) throws {
    try session.execute("DELETE FROM project_members WHERE project_id = \(project) AND user_id = \(user)")
  }

  /// Whether somebody else than `user` is admin of the project and can act.
  static func hasOtherAdmin(than user: UserID, project: ProjectID, in session: Session) throws -> Bool {
    try session.one(
      """
      SELECT 1 FROM project_members m JOIN users a ON a.id = m.user_id
       WHERE m.project_id = \(project) AND m.role = 'admin' AND m.user_id <> \(user) AND NOT a.disabled LIMIT 1
      """) != nil
  }

  private static func isNamed(_ reference: String) -> SQL {
    UserID(reference).map { "a.id = \($0)" } ?? "a.name = \(reference)"
  }
}
