import AloftModel
import Foundation
import Postgres
import PostgresTestSupport
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Event cursors")
struct EventCursorTests {
  @Test("a long transaction in another database of the server does not hold events back")
  func foreignDatabase() async throws {
    try await TestPlane.with { test async throws in
      let url = try await PostgresServer.shared.createDatabase()
      let other = try Database(configuration: DatabaseConfiguration(url: url, poolSize: 1), logger: quiet)
      let holder = try Database(configuration: DatabaseConfiguration(url: url, poolSize: 1), logger: quiet)
      _ = try await holder.run { session in try session.query("SELECT pg_advisory_lock(7)") }
      let long = Task {
        try await other.transaction { session in
          _ = try session.query("SELECT pg_current_xact_id(), pg_advisory_xact_lock(7)")
        }
      }
      try await eventually("the other transaction has its id and waits") {
        try await test.count(
          "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND backend_xid IS NOT NULL") > 0
      }
      let resource = UUID()
      try await test.database.transaction { session in
        try EventStore.append(.vmUpdated, project: nil, resource: resource, in: session)
      }
      try await eventually("the event can be seen") {
        try await test.database.run { session in
          try EventStore.after(.oldest, .everything, limit: 100, in: session)
        }.records.contains { $0.resourceID == resource }
      }
      #expect(
        try await test.count(
          "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND backend_xid IS NOT NULL") > 0)
      await holder.shutdown()
      try await long.value
      await other.shutdown()
    }
  }

  @Test("an older transaction of the same database holds back what came after it")
  func sameDatabase() async throws {
    try await TestPlane.with(poolSize: 3) { test async throws in
      let holder = try Database(
        configuration: DatabaseConfiguration(url: test.databaseURL, poolSize: 1), logger: quiet)
      _ = try await holder.run { session in try session.query("SELECT pg_advisory_lock(7)") }
      let (early, late) = (UUID(), UUID())
      let long = Task {
        try await test.database.transaction { session in
          try EventStore.append(.vmUpdated, project: nil, resource: early, in: session)
          _ = try session.query("SELECT pg_advisory_xact_lock(7)")
        }
      }
      try await eventually("the first transaction waits") {
        try await test.count(
          """
          SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
           WHERE locktype = 'advisory' AND NOT granted AND objid = 7 AND datname = current_database()
          """) > 0
      }
      try await test.database.transaction { session in
        try EventStore.append(.vmUpdated, project: nil, resource: late, in: session)
      }
      let before = try await test.database.run { session in
        try EventStore.after(.oldest, .everything, limit: 100, in: session)
      }
      #expect(!before.records.contains { $0.resourceID == late })
      await holder.shutdown()
      try await long.value
      try await eventually("both can be seen, in the order of their transactions") {
        try await test.database.run { session in
          try EventStore.after(before.end, .everything, limit: 100, in: session)
        }.records.map(\.resourceID) == [early, late]
      }
    }
  }

  @Test("a page ends behind the events of other projects, so that nobody reads them again")
  func foreignProjects() async throws {
    try await TestPlane.with { test async throws in
      let project = ProjectID(UUID())
      for _ in 0..<3 {
        try await test.database.transaction { session in
          try EventStore.append(.vmUpdated, project: ProjectID(UUID()), resource: UUID(), in: session)
        }
      }
      try await eventually("they are passed over") {
        let page = try await test.database.run { session in
          try EventStore.after(.oldest, EventStore.Scope(project: project, nodes: true), limit: 2, in: session)
        }
        #expect(page.records.isEmpty)
        let next = try await test.database.run { session in
          try EventStore.after(page.end, .everything, limit: 10, in: session)
        }
        return page.end != .oldest && next.records.count == 1
      }
    }
  }

  @Test("an id behind which events were removed is refused, and 0 begins with what is left")
  func removed() async throws {
    try await TestPlane.with { test async throws in
      for _ in 0..<3 {
        try await test.database.transaction { session in
          try EventStore.append(.vmUpdated, project: nil, resource: UUID(), in: session)
        }
      }
      let ids = try await test.database.query("SELECT xid::text || '-' || seq FROM events ORDER BY xid, seq").map {
        try $0.get(0, as: String.self)
      }
      _ = try await test.database.query(
        "UPDATE events SET at = at - interval '31 days' WHERE (xid, seq) <> (SELECT xid, seq FROM events ORDER BY xid DESC LIMIT 1)"
      )
      try await test.plane.stepJanitor()
      #expect(try await test.count("SELECT count(*) FROM events") == 1)

      func status(_ id: String) async -> Answer {
        await test.call(.get, "/v1/events?follow=false", headers: ["Last-Event-ID": id])
      }
      let gone = await status(ids[0])
      #expect(gone.status == 410)
      #expect(gone.code == "events_gone")
      #expect(gone.place == "Last-Event-ID")
      for id in [ids[1], ids[2], "0", "0-0"] { #expect(await status(id).status == 200, "\(id)") }
    }
  }

  @Test("an id of the future is refused: nobody waits for ever")
  func future() async throws {
    try await TestPlane.with { test async throws in
      let answer = await test.call(.get, "/v1/events", headers: ["Last-Event-ID": "9000000000000000000-1"])
      #expect(answer.status == 410)
      #expect(answer.code == "events_gone")
    }
  }
}
