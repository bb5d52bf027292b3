import AloftModel
import ControlPlane
import Foundation
import JSON
import Postgres
import Testing

@Suite("Consistency check")
struct CheckTests {
  @Test(
    "what was edited behind the plane's back is found",
    arguments: [
      ("a node's sums", "UPDATE nodes SET memory_mib_claimed = memory_mib_claimed + 1"),
      ("a node's sums", "UPDATE nodes SET disk_gib_claimed = disk_gib_claimed + 1"),
      ("a deleted volume", "UPDATE volumes SET deleted_at = aloft_now(), vm_id = NULL, position = NULL"),
      (
        "a snapshot is of a volume",
        "INSERT INTO snapshots (id, project_id, name) SELECT gen_random_uuid(), id, 'lost' FROM projects LIMIT 1"
      ),
      ("a node's limits", "UPDATE nodes SET vcpus_limit = vcpus_limit + 1"),
      ("a claim is what", "UPDATE vms SET vcpus = 2"),
      ("no node knows", "UPDATE vms SET assignment_revision = 99"),
      ("every open operation", "DELETE FROM work"),
      ("no operation outlives", "UPDATE operations SET deadline = aloft_now() - interval '1 hour'"),
      ("no reconciler", "UPDATE work SET last_error = 'x', attempts = 9"),
      (
        "every request belongs",
        "INSERT INTO vm_requests (id, vm_id, kind) SELECT gen_random_uuid(), id, 'reboot' FROM vms"
      ),
      ("nothing is left behind", "UPDATE nodes SET orphans = '{volume}'"),
      ("every lease", "UPDATE node_leases SET node_id = gen_random_uuid()"),
      ("every image", "UPDATE images SET upload = gen_random_uuid()"),
      ("every content", "UPDATE images SET upload = gen_random_uuid()"),
    ] as [(String, SQL)])
  func finds(_ rule: String, _ edit: SQL) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      #expect(try await test.findings() == [])
      try await test.database.execute(edit)
      let findings = try await test.findings()
      #expect(findings.contains { $0.hasPrefix(rule) }, "\(findings)")
    }
  }

  @Test("a claim cannot be edited, and none can go over a node's limit, whoever writes it")
  func database() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test, report: FakeAgent.report(memoryMiB: 256))
      _ = try await test.createVM("web")
      await #expect(throws: PostgresError.self) {
        try await test.database.execute("UPDATE claims SET memory_mib = 1")
      }
      await #expect(throws: PostgresError.self) {
        try await test.database.execute(
          """
          INSERT INTO claims (vm_id, incarnation, node_id, vcpus, memory_mib)
          SELECT vm_id, 2, node_id, 1, 256 FROM claims
          """)
      }
      #expect(try await test.findings() == [])
    }
  }
}
