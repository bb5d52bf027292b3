import Logging
import Postgres

/// Who may do what in the database. The tables have an owner, who migrates; aloftd may run as another role, which can add audit
/// records but neither change nor remove them (`migrations/0039_runtime_role.sql`).
public enum DatabaseRoles {
  /// Lets a role run aloftd. Only the owner can.
  ///
  /// Throws a ``CommandRefusal`` when there is no such role.
  public static func allow(_ role: String, in database: Database) async throws {
    guard try await database.one("SELECT 1 FROM pg_roles WHERE rolname = \(role)") != nil else {
      throw CommandRefusal("there is no role \(role) in PostgreSQL; make it first: CREATE ROLE \(role) LOGIN …")
    }
    _ = try await database.query("SELECT aloft_grant_use(\(role))")
  }

  /// For how many days audit records are kept. Only the owner can change it.
  public static func keepAudit(days: Int, in database: Database) async throws {
    try await database.execute("UPDATE audit_retention SET days = \(days)::integer")
  }

  /// Says so when the role that aloftd runs as could change what the audit says.
  static func warn(_ database: Database, logger: Logger) async {
    guard
      let row = try? await database.one("SELECT current_user::text, has_table_privilege('audit', 'UPDATE, DELETE')"),
      let role = try? row.get(0, as: String.self), (try? row.get(1, as: Bool.self)) == true
    else { return }
    logger.notice(
      "this role of PostgreSQL can change audit records; aloftd migrate --runtime-role makes one that cannot",
      metadata: ["role": "\(role)"])
  }
}
