import Dispatch
import Execution
import Foundation
import Placement
import Postgres
import Testing

@testable import ControlPlane

@Suite("Changes of nodes")
struct NodeChangesTests {
  @Test(
    "a reading behind another holds the nodes that were written since, committed late or not, and those whose lease ended"
  )
  func since() async throws {
    // What runs elsewhere on a server makes readings larger: this needs one of its own.
    try await TestPlane.withOwnServer { database in
      let nodes = (0..<4).map { _ in UUID() }
      try await database.transaction { session in
        for (index, id) in nodes.enumerated() {
          _ = try session.execute(
            """
            INSERT INTO nodes (id, name, pool_id, architecture, accelerator, vcpus, memory_mib, disk_gib, vcpus_limit,
                               memory_mib_limit, disk_gib_limit, public_key_sha256)
            SELECT \(id), \("node-\(index)"), id, 'x86_64', 'kvm', 8, 8192, 100, 32, 8192, 100, ''::bytea FROM node_pools
            """)
        }
      }
      let whole = try await NodeChanges.read(since: nil, database)
      #expect(Set(whole.nodes.map(\.id)) == Set(nodes))
      #expect(try await NodeChanges.read(since: whole.mark, database).nodes.isEmpty)

      _ = try await database.execute("UPDATE nodes SET schedulable = false WHERE id = \(nodes[1])")
      let cordoned = try await NodeChanges.read(since: whole.mark, database)
      #expect(cordoned.nodes.map(\.id) == [nodes[1]])
      #expect(cordoned.nodes.first?.state == .cordoned)

      // The transaction takes its number before the next mark and commits behind it.
      let late = try await database.transaction { session -> NodeChanges.Mark in
        _ = try session.execute("UPDATE nodes SET vcpus = 9 WHERE id = \(nodes[2])")
        return try Self.blocking { try await NodeChanges.read(since: cordoned.mark, database).mark }
      }
      #expect(try await NodeChanges.read(since: late, database).nodes.map(\.id).contains(nodes[2]))

      _ = try await database.execute(
        "INSERT INTO node_leases VALUES (\(nodes[3]), now() - interval '2 s', now() - interval '1 s')")
      let silent = try await NodeChanges.read(
        since: try await NodeChanges.read(since: late, database).mark, database)
      #expect(silent.nodes.first { $0.id == nodes[3] }?.state == .down)
    }
  }

  /// Waits on a connection's own thread, which may block, for what happens beside its transaction.
  private static func blocking<Value: Sendable>(
    _ body: @escaping @Sendable () async throws -> Value
  ) throws -> Value {
    let outcome = Lock<Result<Value, any Error>?>(nil)
    let done = DispatchSemaphore(value: 0)
    Task {
      let result: Result<Value, any Error>
      do { result = .success(try await body()) } catch { result = .failure(error) }
      outcome.withLock { $0 = result }
      done.signal()
    }
    done.wait()
    return try #require(outcome.withLock { $0 }).get()
  }
}
