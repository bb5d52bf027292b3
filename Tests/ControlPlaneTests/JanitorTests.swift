import Foundation
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Janitor")
struct JanitorTests {
  @Test("ended operations and audit records go when they have had their time; what is open or young stays")
  func records() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("old")
      try await agent.obey()
      try await test.settle()
      _ = try await test.createVM("open")
      _ = try await test.database.query("UPDATE operations SET created_at = created_at - interval '31 days'")
      try await test.plane.stepJanitor()
      #expect(try await test.count("SELECT count(*) FROM operations") == 2)
      _ = try await test.database.query(
        "UPDATE operations SET finished_at = finished_at - interval '31 days' WHERE finished_at IS NOT NULL")
      let audited = try await test.count("SELECT count(*) FROM audit")
      _ = try await test.database.query(
        "UPDATE audit SET at = at - interval '401 days' WHERE id = (SELECT min(id) FROM audit)")
      try await test.plane.stepJanitor()
      #expect(try await test.count("SELECT count(*) FROM operations WHERE finished_at IS NULL") == 1)
      #expect(try await test.count("SELECT count(*) FROM operations") == 1)
      #expect(try await test.count("SELECT count(*) FROM audit") == audited - 1)
      #expect(try await test.findings() == [])
    }
  }

  @Test("what a crash left of an upload goes after a day; what is gone on with stays, for a week")
  func abandoned() async throws {
    try await TestPlane.with { test async throws in
      _ = await test.call(.post, "/v1/images", ["name": "tiny"])
      #expect(await test.append([UInt8](repeating: 1, count: 700), to: "tiny", at: 0).status == 204)
      let uploads = test.imageDirectory + "/.uploads/"
      let kept = try #require(try FileManager.default.contentsOfDirectory(atPath: uploads).first)
      for (name, age) in [("old", 90_000.0), ("young", 0), (kept, 90_000)] {
        if name != kept { try Data("x".utf8).write(to: URL(filePath: uploads + name)) }
        try FileManager.default.setAttributes(
          [.modificationDate: Date(timeIntervalSinceNow: -age)], ofItemAtPath: uploads + name)
      }
      try await test.plane.stepJanitor()
      #expect(Set(try FileManager.default.contentsOfDirectory(atPath: uploads)) == ["young", kept])
      try await test.database.execute("UPDATE image_uploads SET updated_at = updated_at - interval '8 days'")
      try await test.plane.stepJanitor()
      #expect(try FileManager.default.contentsOfDirectory(atPath: uploads) == ["young"])
      #expect(await test.call(.get, "/v1/images/tiny")["stored_bytes"] == 0)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a check does not make the image store that it is to look at")
  func typo() {
    #expect(throws: StartFailure.self) {
      try ImageContents(directory: "/nonexistent/aloft", isNew: false, inspector: Programs.inspector)
    }
  }

  @Test("readyz tells when this replica stops")
  func draining() async throws {
    try await TestPlane.with { test async throws in
      #expect(await test.send(.get, "/readyz").status == 200)
      test.plane.drain()
      #expect(await test.send(.get, "/readyz").status == 503)
    }
  }

  @Test("more than one batch of what is old goes, on two replicas at once; what is young stays")
  func batches() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.database.execute(
        """
        INSERT INTO idempotency_keys (actor, key, request_hash, created_at)
        SELECT 'a', i::text, '', aloft_now() - CASE WHEN i <= 12000 THEN interval '2 days' ELSE interval '1 hour' END
          FROM generate_series(1, 12010) i
        """)
      try await test.database.execute(
        """
        INSERT INTO events (kind, resource_id, at)
        SELECT 'vm.created', gen_random_uuid(), aloft_now() - CASE WHEN i <= 6000 THEN interval '40 days' ELSE interval '1 day' END
          FROM generate_series(1, 6010) i
        """)
      try await test.database.execute("INSERT INTO node_leases SELECT gen_random_uuid(), aloft_now(), aloft_now()")
      let other = try test.replica()
      async let first: Void = test.plane.stepJanitor()
      async let second: Void = other.stepJanitor()
      _ = try await (first, second)
      // Whoever found the other at work left it to that one.
      try await test.plane.stepJanitor()
      #expect(try await test.count("SELECT count(*) FROM idempotency_keys") == 10)
      #expect(try await test.count("SELECT count(*) FROM events") == 10)
      #expect(try await test.count("SELECT count(*) FROM events_removed WHERE seq = 6000") == 1)
      #expect(try await test.count("SELECT count(*) FROM node_leases") == 0)
    }
  }
}
