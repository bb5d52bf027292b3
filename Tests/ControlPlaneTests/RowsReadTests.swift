import AloftModel
import Foundation
import JSON
import Postgres
import Testing

@testable import ControlPlane

/// What statements cost is asserted on the rows that PostgreSQL read for them, and not on time.
@Suite("Rows read")
struct RowsReadTests {
  private static let vms = 20_000
  private static let project: SQL = "'01900000-0000-7000-8000-000000000001'::uuid"

  private static func uuid(_ table: Int, _ number: Int) -> UUID {
    UUID(uuidString: String(format: "01900000-%04x-7000-8000-%012x", table, number)) ?? UUID()
  }

  /// 20 000 VMs on 20 nodes, each with claim, observation, an ended operation and a work row.
  private static func fill(_ database: Database) async throws {
    try await database.transaction { session in
      // The sums of the nodes are not what is looked at.
      try session.execute("SET LOCAL session_replication_role = replica")
      try session.execute(
        """
        INSERT INTO nodes (id, name, pool_id, architecture, accelerator, vcpus, memory_mib, disk_gib, vcpus_limit,
                           memory_mib_limit, disk_gib_limit, public_key_sha256)
        SELECT ('01900000-0001-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'node-' || i,
               '01900000-0000-7000-8000-000000000002', 'x86_64', 'kvm', 1, 1, 1, 1, 1, 1, ''
          FROM generate_series(1, 20) i
        """)
      try session.execute(
        "INSERT INTO node_leases SELECT id, now(), now() + interval '1 day' FROM nodes")
      try session.execute(
        """
        INSERT INTO images (id, project_id, name, architecture)
        VALUES ('01900000-0002-7000-8000-000000000001', \(fragment: project), 'tiny', 'x86_64')
        """)
      try session.execute(
        """
        INSERT INTO vms (id, project_id, name, labels, image_id, vcpus, memory_mib, hostname, desired_power)
        SELECT ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, \(fragment: project), 'vm-' || i,
               CASE WHEN i = 17000 THEN '{"rare": "yes"}'::jsonb ELSE '{"tier": "web"}' END,
               '01900000-0002-7000-8000-000000000001', 1, 1, 'vm', 'running'
          FROM generate_series(1, \(vms)::integer) i
        """)
      try session.execute(
        """
        INSERT INTO claims (vm_id, incarnation, node_id, vcpus, memory_mib)
        SELECT ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1,
               ('01900000-0001-7000-8000-' || lpad(to_hex(i % 20 + 1), 12, '0'))::uuid, 1, 1
          FROM generate_series(1, \(vms)::integer) i
        """)
      try session.execute(
        """
        INSERT INTO volumes (id, project_id, name, pool_id, node_id, size_gib, image_id, vm_id, position, boot_index,
                             delete_with_vm, usage_slot)
        SELECT gen_random_uuid(), project_id, name, '01900000-0000-7000-8000-000000000003', c.node_id, 1, image_id, id, 0, 1,
               true, 0
          FROM vms JOIN claims c ON c.vm_id = id
        """)
      try session.execute(
        """
        INSERT INTO vm_observations (vm_id, incarnation, generation, power, sequence)
        SELECT id, 1, 1, 'running', 1 FROM vms
        """)
      try session.execute(
        """
        INSERT INTO operations (id, project_id, kind, resource_id, generation, status, error_code, actor, request_id,
                                deadline, finished_at)
        SELECT ('01900000-0004-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, \(fragment: project), 'vm.create',
               ('01900000-0003-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 1,
               CASE WHEN i % 5000 = 1 THEN 'failed' WHEN i % 5000 = 2 THEN 'running' ELSE 'succeeded' END,
               CASE WHEN i % 5000 = 1 THEN 'deadline_exceeded' END, '', '', now(),
               CASE WHEN i % 5000 <> 2 THEN now() END
          FROM generate_series(1, \(vms)::integer) i
        """)
      try session.execute(
        "INSERT INTO work (kind, id, due_at) SELECT 'vm', id, now() + interval '1 hour' FROM vms")
    }
    _ = try await database.run { session in try session.execute("VACUUM ANALYZE") }
  }

  /// How many rows of tables a statement reads, those that it looks at and drops too.
  private static func rowsRead(_ statement: SQL, _ database: Database) async throws -> Int {
    let row = try await database.one("EXPLAIN (ANALYZE, FORMAT JSON) \(fragment: statement)")
    let text = try #require(try row?.get(0, as: JSONText.self).text)
    let plan = try #require(try JSONValue.parse(Array(text.utf8))[0]?["Plan"])
    return rowsRead(plan)
  }

  private static func rowsRead(_ plan: JSONValue) -> Int {
    func number(_ name: String) -> Int { plan[name]?.intValue ?? 0 }
    var rows = 0
    if plan["Relation Name"] != nil {
      rows = number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck")
      rows *= number("Actual Loops")
    }
    return (plan["Plans"]?.arrayValue ?? []).reduce(rows) { $0 + rowsRead($1) }
  }

  @Test("lists read about what they show, however deep the page and whatever the filter, of 20 000 VMs")
  func lists() async throws {
    try await TestPlane.with { test async throws in
      try await Self.fill(test.database)
      let deep = Self.uuid(3, 19_000)
      func vms(
        name: String? = nil, labels: [VMStore.LabelFilter] = [], node: NodeID? = nil, after: UUID? = nil
      ) -> SQL {
        VMStore.paging(project: Self.project, name: name, labels: labels, node: node, after: after, limit: 11)
      }
      let node = NodeID(Self.uuid(1, 5))
      let project = ProjectID(try #require(UUID(uuidString: "01900000-0000-7000-8000-000000000001")))
      func operations(_ status: OperationStatus, before: UUID? = nil) -> SQL {
        OperationStore.paging(project: project, resource: nil, status: status, before: before, limit: 11)
      }
      let cases: [(String, SQL)] = [
        ("first page", vms()), ("deep page", vms(after: deep)), ("name", vms(name: "vm-12345")),
        ("no such name", vms(name: "nobody")), ("rare label", vms(labels: [.init(key: "rare", value: "yes")])),
        ("no such label", vms(labels: [.init(key: "none")])),
        ("common label, deep", vms(labels: [.init(key: "tier", value: "web")], after: deep)),
        ("node", vms(node: node)), ("node, deep", vms(node: node, after: deep)),
        ("failed operations", operations(.failed)), ("running operations", operations(.running)),
        ("failed operations, deep", operations(.failed, before: Self.uuid(4, 1000))),
        ("next due", WorkQueue.nextDue([.vm])),
      ]
      for (what, statement) in cases {
        let rows = try await Self.rowsRead(statement, test.database)
        #expect(rows <= 600, "\(what)")
      }
    }
  }
}
