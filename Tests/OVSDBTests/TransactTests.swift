import Foundation
import OVSDBTestSupport
import TestSupport
import Testing

@testable import OVSDB

@Suite("Transactions")
struct TransactTests {
  @Test("operations give their results, and values come back as they were sent")
  func results() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    let id = UUID()
    let row: Row = [
      "name": "a \"quoted\" {name} é", "number": -7, "ratio": 1.5, "flag": true, "weight": 3,
      "tags": .strings(["x", "y"]), "options": .map(["k": "v", "l": "w"]), "parts": .namedUUID("p"),
    ]
    let results = try await client.transact([
      .insert(table: "Part", row: ["name": "part"], as: .named("p")),
      .insert(table: "Item", row: row, as: .identified(id)),
      .mutate(table: "Item", where: [.row(id)], mutations: [Mutation("number", .add, 9)]),
      .update(table: "Item", where: [Condition("name", .equal, "nobody")], row: ["flag": false]),
      .select(table: "Item", where: [.row(id)]),
      .comment("done"),
      .wait(table: "Item", where: [.row(id)], columns: ["number"], until: .equal, rows: [["number": 2]]),
      .delete(table: "Item", where: [Condition("number", .greater, 100)]),
    ])
    let part = try #require(results[0].insertedRow)
    #expect(results[1] == .inserted(id))
    #expect(results[2] == .count(1))
    #expect(results[3] == .count(0))
    let read = try #require(results[4].selectedRows?.first)
    #expect(read["parts"] == .uuid(part))
    #expect(read["number"] == 2)
    for column in ["name", "ratio", "flag", "weight", "tags", "options"] { #expect(read[column] == row[column]) }
    #expect(results[5] == .done && results[6] == .done && results[7] == .count(0))
  }

  @Test("an error of an operation and one of the commit are told apart")
  func errors() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    let failed = await failure {
      try await client.transact([.comment("x"), .insert(table: "Item", row: ["nosuch": 1]), .comment("y")])
    }
    guard case .operationFailed(1, let fault)? = failed?.kind else {
      Issue.record("\(String(describing: failed))")
      return
    }
    #expect(fault.code == .unknownColumn)

    try await client.transact([.insert(table: "Item", row: ["name": "one"])])
    let commit = await failure { try await client.transact([.insert(table: "Item", row: ["name": "one"])]) }
    guard case .commitFailed(let violation)? = commit?.kind else {
      Issue.record("\(String(describing: commit))")
      return
    }
    #expect(violation.code == .constraintViolation)

    let aborted = await failure { try await client.transact([.insert(table: "Item", row: ["name": "two"]), .abort]) }
    #expect(aborted?.fault?.code == .aborted)
    let waited = await failure {
      try await client.transact([
        .wait(table: "Item", where: [], columns: ["name"], until: .equal, rows: [["name": "other"]])
      ])
    }
    #expect(waited?.fault?.code == .timedOut)
  }

  @Test("an answer whose error member is set is a refusal of the whole request")
  func refusedRequest() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    // The client itself is ready only with a database that is there.
    let error = await failure { try await client.call("transact", ["Nowhere"], timeout: .seconds(30)) }
    guard case .requestRefused(let fault)? = error?.kind else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(fault.code == .unknownDatabase)
  }

  @Test("names and numbers that the wire cannot carry are refused before anything is sent")
  func invalid() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    for operation: OVSDB.Operation in [
      .insert(table: "Item", row: [:], as: .named("a-b")), .insert(table: "Item", row: ["ratio": .real(.nan)]),
      .assert(lock: "1st"),
    ] {
      let error = await failure { try await client.transact([operation]) }
      #expect(error?.kind == .invalidRequest)
    }
  }

  @Test("many transactions at once each get their own answer")
  func concurrent() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<200 {
        group.addTask {
          let results = try await client.transact([
            .insert(table: "Item", row: ["name": .string("n\(number)"), "number": .integer(Int64(number))]),
            .select(table: "Item", where: [Condition("number", .equal, .integer(Int64(number)))], columns: ["name"]),
          ])
          #expect(results[1] == .rows([["name": .string("n\(number)")]]))
        }
      }
      try await group.waitForAll()
    }
  }

  @Test("values of several MiB go both ways")
  func large() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    let text = String(repeating: "\\\"{[", count: 1 << 20)
    try await client.transact([.insert(table: "Item", row: ["name": .string(text)])])
    let rows = try await client.transact([.select(table: "Item", where: [], columns: ["name"])])[0].selectedRows
    #expect(rows == [["name": .string(text)]])
  }

  @Test("without a server a request fails at its deadline and says why; one of a cancelled task at once")
  func noServer() async throws {
    let configuration = OVSDBConfiguration(database: "Test", remotes: [.unix("/nowhere/db.sock")])
    let client = try OVSDBClient(configuration, logger: TestLogs.logger())
    let error = await failure { try await client.transact([.comment("x")], timeout: .milliseconds(50)) }
    #expect(error?.kind == .notConnected)
    #expect(error?.message.contains("No such file") == true)
    let task = Task { await failure { try await client.transact([.comment("x")], timeout: .seconds(600)) } }
    task.cancel()
    #expect(await task.value?.kind == .cancelled)
    client.close()
    let closed = await failure { try await client.transact([.comment("x")]) }
    #expect(closed?.kind == .closed)
  }

  @Test("a transaction that a killed server did not answer has an unknown outcome")
  func unknownOutcome() async throws {
    let server = try await OVSDBServer()
    let client = try server.client()
    try await client.transact([.comment("ready")])
    let task = Task {
      await failure {
        try await client.transact([
          .wait(
            table: "Item", where: [], columns: ["name"], until: .equal, rows: [["name": "never"]],
            timeoutMilliseconds: nil)
        ])
      }
    }
    try await eventually("the server has it") {
      try await run("ovs-appctl", "-t", server.directory + "/ctl", "memory/show").contains("triggers:1")
    }
    try await server.kill()
    #expect(await task.value?.kind == .outcomeUnknown)
  }
}

/// The error that the body throws.
func failure<Result>(_ body: () async throws -> Result) async -> OVSDBError? {
  do { _ = try await body() } catch { return error as? OVSDBError }
  return nil
}
