import AloftModel
import Foundation
import JSON
import Postgres

/// A user as the API shows it.
struct UserRecord: Sendable, JSONWritable {
  var id: UserID
  var name: String
  var kind: UserKind
  var cloudRole: CloudRole?
  var disabled: Bool
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  /// Holds the tokens that `aloftd token create` makes.
  static let root = UserID(UUID(uuid: (1, 0x90, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 3)))

  var etag: String { "\"\(revision)\"" }
  /// Whether it can give others what they need.
  var isAdmin: Bool { cloudRole == .admin && !disabled }

  static let columns: SQL = "a.id, a.name, a.kind, a.cloud_role, a.disabled, a.revision, a.created_at, a.updated_at"

  init(_ row: Row) throws {
    id = try row.get(0)
    name = try row.get(1)
    kind = try row.get(2)
    cloudRole = try row.get(3)
    disabled = try row.get(4)
    revision = try row.get(5)
    createdAt = try row.get(6)
    updatedAt = try row.get(7)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("kind", kind)
      writer.field("cloud_role", cloudRole)
      writer.field("disabled", disabled)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// The rows of `users`.
enum UserStore {
  /// By id or name.
  static func find(_ reference: String, in session: Session) throws -> UserRecord? {
    let condition: SQL = UserID(reference).map { "a.id = \($0)" } ?? "a.name = \(reference)"
    return try session.one("SELECT \(fragment: UserRecord.columns) FROM users a WHERE \(fragment: condition)")
      .map { try UserRecord($0) }
  }

  /// Whose tokens or sessions are meant: the caller's, unless somebody is named. Who must not know other users does not learn
  /// who exists.
  static func owner(_ reference: String?, _ caller: Principal, in session: Session) throws -> UserID {
    guard let own = caller.user else { throw KnownCaller.unknown }
    guard let reference, reference != caller.userName, reference != own.description else { return own }
    guard caller.cloudRole?.holds(.userWrite) == true else { throw NewToken.forOthers }
    guard let user = try find(reference, in: session) else { throw absent(reference) }
    return user.id
  }

  static func absent(_ reference: String) -> Problem {
    Problem(.notFound, "there is no user \(reference); GET /v1/users lists them")
  }

  /// Keeps all others from changing users until the transaction ends. Changes are few, and which of them would take the last
  /// administrator can only be told one after another. Tokens and memberships can be made meanwhile.
  static func lockAll(in session: Session) throws {
    try session.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
  }

  /// Keeps these users as they are until the transaction ends, and whoever makes tokens for one of them behind it. Returns
  /// those that there are.
  static func lock(_ users: [UserID], in session: Session) throws -> [UserID] {
    try session.query("SELECT id FROM users WHERE id = ANY(\(users.map(\.uuid))) ORDER BY id FOR NO KEY UPDATE")
      .map { try $0.get(0) }
  }

  /// Refuses a change behind which nobody could give anybody a role. Comes behind the change, which is then undone.
  static func requireAdmin(in session: Session) throws {
    if try session.one("SELECT 1 FROM users WHERE cloud_role = 'admin' AND NOT disabled LIMIT 1") != nil { return }
    throw Problem(
      .lastAdmin, "this is the last enabled user with the cloud role admin; give the role to another user first")
  }

  static func insert(
    _ id: UserID, name: String, kind: UserKind, cloudRole: CloudRole?, disabled: Bool, in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO users (id, name, kind, cloud_role, disabled)
      VALUES (\(id), \(name), \(kind), \(cloudRole), \(disabled))
      """, unique: "users_name_key", else: nameTaken(name))
  }

  /// Writes what of a user can change.
  static func update(_ user: UserRecord, in session: Session) throws {
    try session.execute(
      """
      UPDATE users SET name = \(user.name), cloud_role = \(user.cloudRole), disabled = \(user.disabled),
                       revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(user.id)
      """, unique: "users_name_key", else: nameTaken(user.name))
  }

  /// Its tokens and memberships go with it.
  static func delete(_ id: UserID, in session: Session) throws {
    try session.execute("DELETE FROM users WHERE id = \(id)")
  }

  static func page(after: UUID?, limit: Int, in session: Session) throws -> [UserRecord] {
    try session.query(
      """
      SELECT \(fragment: UserRecord.columns) FROM users a
       WHERE \(after)::uuid IS NULL OR a.id > \(after) ORDER BY a.id LIMIT \(limit)
      """
    ).map { try UserRecord($0) }
  }

  private static func nameTaken(_ name: String) -> Problem {
    Problem(
      .nameTaken, "a user named \(name) exists already; choose another name",
      errors: [.init(code: .nameTaken, detail: "taken", pointer: "/name")])
  }
}
