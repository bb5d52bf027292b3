import AloftModel
import Foundation
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Events")
struct EventTests {
  /// On a server of its own: a reader waits for every older transaction of the whole server, other tests' too.
  @Test("a reader by cursor sees every event of concurrent writers exactly once, in one order")
  func neverSkips() async throws {
    try await TestPlane.withOwnServer { database async throws in
      let writers = 6
      let each = 20
      let resources = (0..<writers).map { _ in UUID() }
      async let seen = read(writers * each * 2, from: database)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for resource in resources {
          group.addTask {
            for number in 0..<each {
              try await database.transaction { session in
                for part in 0..<2 {
                  try EventStore.append(
                    .vmUpdated, project: nil, resource: resource, data: ["number": "\(number * 2 + part)"], in: session)
                }
                // Commits in another order than the numbers were taken.
                _ = try session.query("SELECT pg_sleep(random() * 0.004)")
              }
            }
          }
        }
        try await group.waitForAll()
      }
      let records = try await seen
      #expect(records.count == writers * each * 2)
      #expect(zip(records, records.dropFirst()).allSatisfy { $0.cursor < $1.cursor })
      for resource in resources {
        let numbers = records.filter { $0.resourceID == resource }.map(\.data)
        #expect(numbers == (0..<each * 2).map { "{\"number\": \"\($0)\"}" })
      }
      let rest = try await database.run { session in
        try EventStore.after(records[records.count - 1].cursor, .everything, limit: 10, in: session).records
      }
      #expect(rest.isEmpty)
    }
  }

  /// Reads in small pages until `count` have come.
  private func read(_ count: Int, from database: Database) async throws -> [EventStore.Record] {
    var records: [EventStore.Record] = []
    let deadline = ContinuousClock.now + .seconds(60)
    while records.count < count {
      if ContinuousClock.now >= deadline {
        let stuck = try await database.one(
          """
          SELECT format('written %s, xmin %s, newest %s, open %s', (SELECT count(*) FROM events),
                        pg_snapshot_xmin(pg_current_snapshot()), (SELECT max(xid::text::bigint) FROM events),
                        (SELECT array_agg(format('%s: %s', backend_xid, query)) FROM pg_stat_activity
                          WHERE backend_xid IS NOT NULL))
          """)?.get(0, as: String.self)
        let last = records.last?.cursor ?? .oldest
        try #require(records.count >= count, "the reader stands at \(last); \(stuck ?? "")")
      }
      let cursor = records.last?.cursor ?? .oldest
      let page = try await database.run { session in
        try EventStore.after(cursor, .everything, limit: 7, in: session).records
      }
      records += page
      if page.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
    }
    return records
  }

  @Test("transactions are read in the order of their numbers, not of the digits: 999 comes before 1000")
  func numericOrder() async throws {
    try await TestPlane.with { test async throws in
      // All long over, whatever else runs on the server.
      for transaction in ["99", "100", "9", "10"] {
        try await test.database.execute(
          """
          INSERT INTO events (xid, kind, resource_id) VALUES (\(transaction)::xid8, 'vm.updated', \(UUID()))
          """)
      }
      let seen = try await test.database.run { session in
        try EventStore.after(.oldest, .everything, limit: 4, in: session).records
      }
      #expect(seen.map(\.cursor.transaction) == [9, 10, 99, 100])
    }
  }

  @Test("who starts at the end sees only what comes later; a project's reader sees its own and the fleet's")
  func scope() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let database = test.database
      // Events that no reader could see yet, because an older transaction still ran, would be news to everybody.
      try await eventually("the old events can be seen") {
        let seen = try await database.run { session in
          try EventStore.after(.oldest, .everything, limit: 100, in: session).records
        }
        return seen.contains { $0.kind == "image.ready" }
      }
      let end = try await database.run { session in try EventStore.end(in: session) }
      _ = try await FakeAgent.join(test)
      let vm = try await test.createVM("web").vm
      let foreign = UUID()
      try await database.transaction { session in
        try EventStore.append(.vmDeleted, project: ProjectID(UUID()), resource: foreign, in: session)
      }
      let project = try #require(await test.call(.get, "/v1/vms/web")["project_id"]?.stringValue)
      let id = try #require(ProjectID(project))
      try await eventually("the new events can be seen") {
        let seen = try await database.run { session in
          try EventStore.after(end, EventStore.Scope(project: id, nodes: true), limit: 100, in: session).records
        }
        #expect(!seen.contains { $0.kind.hasPrefix("image") || $0.resourceID == foreign })
        return seen.contains { $0.kind == "node.joined" } && seen.contains { $0.resourceID == vm.uuid }
      }
    }
  }

  @Test("a cursor is read as it is written, and a bare 0 is the beginning")
  func cursors() throws {
    for cursor in [EventStore.Cursor(transaction: 7, number: 9), .oldest, .init(transaction: 1, number: .max)] {
      #expect(EventStore.Cursor(cursor.description) == cursor)
    }
    #expect(EventStore.Cursor("0") == .oldest)
    #expect(EventStore.Cursor("12") == EventStore.Cursor(transaction: 12, number: .max))
    for text in ["", "-", "a", "1-", "1-b", "-1", "1-2-3"] { #expect(EventStore.Cursor(text) == nil, "\(text)") }
  }
}
