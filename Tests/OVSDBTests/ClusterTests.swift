import Foundation
import OVSDBTestSupport
import TestSupport
import Testing

@testable import OVSDB

@Suite("Clustered databases")
struct ClusterTests {
  @Test(
    "the leader is followed when it dies; the replica resumes, the lock is asked for again", .timeLimit(.minutes(2)))
  func leader() async throws {
    let servers = try await Self.cluster()
    let remotes = servers.map(\.remote)
    let client = try servers[0].client { $0.remotes = remotes }
    let lock = try client.lock("writer")
    try await lock.acquired()
    try await client.transact([.assert(lock: "writer"), .insert(table: "Item", row: ["name": "before"])])
    let replica = client.replica(of: [MonitoredTable("Item")])
    #expect(try await replica.current()["Item"].count == 1)
    var changes = replica.changes.makeAsyncIterator()
    #expect(try await changes.next()?.rows.count == 1)

    guard case .ready(let old) = client.status, let leader = servers.first(where: { $0.remote == old }) else {
      Issue.record("\(client.status)")
      return
    }
    try await leader.kill()
    try await eventually("another leader is found", within: .seconds(60)) {
      if case .ready(let new) = client.status { new != old } else { false }
    }
    try await lock.acquired()
    try await client.transact([.assert(lock: "writer"), .insert(table: "Item", row: ["name": "behind"])])
    var rows: [RowChange] = []
    while rows.isEmpty, let batch = try await changes.next() { rows += batch.rows }
    // Only what is new: what was there before is no change.
    #expect(rows.map { $0.new?["name"]?.string } == ["behind"])
    #expect(replica.state.withLock { $0.lastTransaction } != Replica.beginning)
  }

  @Test("a follower is of use when the leader is not asked for", .timeLimit(.minutes(2)))
  func follower() async throws {
    let servers = try await Self.cluster()
    for (number, server) in servers.enumerated() {
      let client = try server.client { $0.leaderOnly = false }
      try await client.transact([.insert(table: "Item", row: ["name": .string("n\(number)")])])
      #expect(client.status == .ready(server.remote))
    }
  }

  /// Three members, each of which has joined.
  private static func cluster() async throws -> [OVSDBServer] {
    var servers: [OVSDBServer] = []
    let first = "tcp:127.0.0.1:\(try freePort())"
    for number in 0..<3 {
      let directory = try OVSDBServer.makeDirectory()
      if number == 0 {
        try testSchema.write(toFile: directory + "/schema", atomically: false, encoding: .utf8)
        try await run("ovsdb-tool", "create-cluster", directory + "/db", directory + "/schema", first)
      } else {
        try await run(
          "ovsdb-tool", "join-cluster", directory + "/db", "Test", "tcp:127.0.0.1:\(try freePort())", first)
      }
      let server = try await OVSDBServer(directory: directory)
      servers.append(server)
      // A member serves nothing before it has joined.
      let client = try server.client { $0.leaderOnly = false }
      try await client.transact([.comment("joined")], timeout: .seconds(60))
    }
    return servers
  }
}
