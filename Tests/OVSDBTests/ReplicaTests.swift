import Foundation
import OVSDBTestSupport
import TestSupport
import Testing

@testable import OVSDB

@Suite("Replicas")
struct ReplicaTests {
  private static let tables = [MonitoredTable("Item"), MonitoredTable("Part", columns: ["name"])]

  @Test("a replica equals the server after random changes by another client, and so does the sum of its changes")
  func randomChanges() async throws {
    let server = try await OVSDBServer()
    let (reader, writer) = (try server.client(), try server.client())
    let replica = reader.replica(of: Self.tables)
    var sum: [String: [UUID: Row]] = [:]
    _ = try await replica.current()
    var changes = replica.changes.makeAsyncIterator()
    try await Self.change(writer, rounds: 300)
    let end = try await writer.transact([.insert(table: "Item", row: ["name": "end"])])[0].insertedRow
    let last = try #require(end)
    while let batch = try await changes.next() {
      // One connection throughout: nothing was healed by asking anew.
      #expect(batch.snapshot.isCurrent)
      for row in batch.rows {
        #expect(sum[row.table]?[row.id] == row.old)
        sum[row.table, default: [:]][row.id] = row.new
      }
      if batch.snapshot["Item"][last] != nil { break }
    }
    let truth = try await Self.content(writer)
    #expect(replica.snapshot["Item"] == truth)
    #expect(sum["Item"] == truth)
    #expect(truth.count > 10)
  }

  @Test("a replica is brought up to date after the server was killed and started again, and tells the difference")
  func resync() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    let replica = client.replica(of: Self.tables)
    try await client.transact([
      .insert(table: "Item", row: ["name": "stays"]), .insert(table: "Item", row: ["name": "goes"]),
    ])
    try await eventually("both are there") { replica.snapshot["Item"].count == 2 }
    var changes = replica.changes.makeAsyncIterator()
    #expect(try await changes.next()?.rows.count == 2)
    try await server.kill()
    try await eventually("the replica knows") { !replica.snapshot.isCurrent }
    #expect(replica.snapshot["Item"].count == 2)
    // What another client does while this one is away: by the tool, on the file.
    let operations =
      #"["Test",{"op":"delete","table":"Item","where":[["name","==","goes"]]},"#
      + #"{"op":"insert","table":"Item","row":{"name":"comes"}}]"#
    try await run("ovsdb-tool", "transact", server.directory + "/db", operations)
    try await server.start()
    var seen: [RowChange] = []
    while let batch = try await changes.next() {
      seen += batch.rows
      if batch.snapshot.isCurrent { break }
    }
    #expect(Set(seen.map { $0.new?["name"] ?? $0.old?["name"] }) == ["goes", "comes"])
    #expect(seen.count == 2)
    #expect(Set(replica.snapshot["Item"].values.map { $0["name"]?.string }) == ["stays", "comes"])
  }

  @Test("a replica of rows by condition holds those for which one holds")
  func conditions() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    let table = MonitoredTable(
      "Item", columns: ["number"], whereAny: [Condition("number", .less, 3), Condition("name", .equal, "n7")])
    let replica = client.replica(of: [table])
    try await client.transact(
      (0..<10).map { .insert(table: "Item", row: ["name": .string("n\($0)"), "number": .integer($0)]) })
    #expect(Set(replica.snapshot["Item"].values.map { $0["number"]?.integer }) == [0, 1, 2, 7])
    #expect(replica.snapshot["Item"].values.allSatisfy { $0.count == 1 })
    try await client.transact([.update(table: "Item", where: [Condition("number", .equal, 1)], row: ["number": 30])])
    #expect(Set(replica.snapshot["Item"].values.map { $0["number"]?.integer }) == [0, 2, 7])
  }

  @Test("a replica of a table that is not there fails with the server's words")
  func unknownTable() async throws {
    let server = try await OVSDBServer()
    let replica = try server.client().replica(of: [MonitoredTable("Nowhere")])
    let client = try server.client()
    let other = client.replica(of: [MonitoredTable("Nowhere")])
    let error = await failure { try await other.current() }
    #expect(error?.fault != nil)
    // The first one's client is gone.
    let closed = await failure { try await replica.current() }
    #expect(closed?.kind == .closed || closed?.fault != nil)
  }

  /// Changes by lot, of all kinds of columns.
  static func change(_ client: OVSDBClient, rounds: Int) async throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<rounds {
      let name = Condition("name", .equal, .string("i\(Int.random(in: 0..<40, using: &random))"))
      let word = "w\(Int.random(in: 0..<6, using: &random))"
      let operation: OVSDB.Operation
      switch Int.random(in: 0..<11, using: &random) {
      case 0...2:
        operation = .insert(table: "Item", row: ["name": name.value, "number": 1, "options": .map(["a": word])])
      case 3: operation = .delete(table: "Item", where: [name])
      case 4:
        operation = .mutate(table: "Item", where: [name], mutations: [Mutation("tags", .insert, .strings([word]))])
      case 5: operation = .mutate(table: "Item", where: [], mutations: [Mutation("tags", .delete, .strings([word]))])
      case 6:
        operation = .mutate(
          table: "Item", where: [name],
          mutations: [Mutation("options", .delete, .strings([word])), Mutation("options", .insert, .map([word: "x"]))])
      case 7: operation = .update(table: "Item", where: [], row: ["options": .map(["a": word, word: "y"])])
      case 8: operation = .update(table: "Item", where: [name], row: ["weight": .empty, "ratio": 0.25])
      case 9:
        operation = .update(table: "Item", where: [name], row: ["weight": .integer(.random(in: 0..<9)), "flag": true])
      default:
        try await attempt(
          client,
          [
            .insert(table: "Part", row: ["name": .string(word)], as: .named("p")),
            .mutate(table: "Item", where: [name], mutations: [Mutation("parts", .insert, .namedUUID("p"))]),
          ])
        continue
      }
      try await attempt(client, [operation])
    }
  }

  private static func attempt(_ client: OVSDBClient, _ operations: [OVSDB.Operation]) async throws {
    do { try await client.transact(operations) } catch {
      // The lot may ask for a name that is taken.
      guard error.fault?.code == .constraintViolation else { throw error }
    }
  }

  static func content(_ client: OVSDBClient) async throws -> [UUID: Row] {
    let rows = try await client.transact([.select(table: "Item", where: [])])[0].selectedRows ?? []
    var result: [UUID: Row] = [:]
    for var row in rows {
      row["_version"] = nil
      guard let id = row.removeValue(forKey: "_uuid")?.uuid else { continue }
      if row["options"] == .empty { row["options"] = .map([Atom: Atom]()) }
      result[id] = row
    }
    return result
  }
}
