import AloftModel
import ControlPlane
import Foundation
import Postgres
import TestSupport
import Testing

/// The role that the plane runs as in all these tests.
@Suite("The role of aloftd in the database")
struct DatabaseRoleTests {
  @Test(
    "it can neither change nor remove what the audit says, nor for how long that is kept",
    arguments: [
      "UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "TRUNCATE audit", "DROP TABLE audit",
      "ALTER TABLE audit DISABLE TRIGGER ALL", "UPDATE audit_retention SET days = 1",
      "CREATE OR REPLACE FUNCTION aloft_forget_audit(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
      "UPDATE schema_migrations SET sha256 = ''",
    ] as [SQL])
  func appendOnly(_ statement: SQL) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let error = await #expect(throws: PostgresError.self) { try await test.runtime.execute(statement) }
      #expect(error?.sqlState?.rawValue == "42501", "\(String(describing: error))")
      #expect(try await test.count("SELECT count(*) FROM audit") > 0)
    }
  }

  @Test("old audit records go by the owner's setting, and no clock of the role's own makes young ones old")
  func retention() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      try await DatabaseRoles.keepAudit(days: 10, in: test.database)
      let before = try await test.count("SELECT count(*) FROM audit")
      try await test.database.execute(
        "UPDATE audit SET at = at - interval '11 days' WHERE id = (SELECT min(id) FROM audit)")
      try await test.runtime.transaction { session in
        try session.execute("SET LOCAL aloft.now = '2400-01-01'")
        try session.execute("SELECT aloft_forget_audit(1000)")
      }
      #expect(try await test.count("SELECT count(*) FROM audit") == before - 1)
    }
  }

  @Test("a role that does not exist is refused in words")
  func absent() async throws {
    try await TestPlane.with { test async throws in
      let error = await #expect(throws: CommandRefusal.self) {
        try await DatabaseRoles.allow("nobody; DROP TABLE audit", in: test.database)
      }
      #expect(error?.description.contains("there is no role nobody") == true)
    }
  }
}
