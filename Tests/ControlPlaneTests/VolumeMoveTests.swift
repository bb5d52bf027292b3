import AloftModel
import JSON
import Testing

@testable import ControlPlane

@Suite("Volumes that go to another pool")
struct VolumeMoveTests {
  private static func pool(_ name: String, _ kind: StoragePoolKind = .directory, gib: Int = 20) -> NodeStoragePool {
    NodeStoragePool(name: name, kind: kind, totalBytes: gib << 30, freeBytes: gib << 30, usedBytes: 0)
  }

  /// A plane with the pools `local`, `fast`, `small` and `shared`, and one node that has them and a VM `web` that runs.
  private func withNode(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      for (name, kind) in [("fast", "dir"), ("small", "dir"), ("absent", "dir"), ("shared", "rbd")] {
        _ = await test.call(.post, "/v1/storage-pools", ["name": .string(name), "kind": .string(kind)])
      }
      let agent = try await FakeAgent.join(test)
      var report = FakeAgent.report()
      report.pools = [
        Self.pool("local", gib: 100), Self.pool("fast"), Self.pool("small", gib: 1), Self.pool("shared", .rbd),
      ]
      _ = try await agent.send(report: report)
      _ = try await test.createVM("web")
      try await agent.obey()
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 2, "vm": "web"])
      try await agent.obey()
      try await test.settle()
      try await body(test, agent)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  private func move(_ test: TestPlane, to pool: String = "fast", _ volume: String = "data") async -> Answer {
    await test.call(.post, "/v1/volumes/\(volume)/move", ["pool": .string(pool)])
  }

  private func claimed(_ test: TestPlane, _ pool: String) async -> JSONValue? {
    let found = await test.call(.get, "/v1/storage-pools/\(pool)")
    return found[pool == "shared" ? "shared" : "places"]?["claimed_gib"] ?? found["places"]?[0]?["claimed_gib"]
  }

  @Test("it is promised in both pools until its agent says that it is in one; how far it is shows")
  func there() async throws {
    try await withNode { test, agent async throws in
      let dry = await test.call(.post, "/v1/volumes/data/move?dry_run=true", ["pool": "fast"])
      #expect(dry.status == 200 && dry["move"]?["pool"] == "fast", "\(dry)")
      #expect(await test.call(.get, "/v1/volumes/data")["move"] == .null)
      let accepted = await move(test)
      #expect(accepted.status == 202, "\(accepted)")
      #expect(accepted["operation"]?["kind"] == "volume.move")
      #expect(accepted["pool"] == "local" && accepted["move"]?["pool"] == "fast")
      #expect(await claimed(test, "fast") == 2)
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 3)
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      #expect(documents.map(\.move) == [.init(pool: "fast")])
      #expect(documents.map(\.pool) == ["local"])
      try await agent.see(documents, activity: "copying", copied: (1 << 20, 4 << 20), isMoving: true)
      try await test.settle()
      let half = await test.call(.get, "/v1/volumes/data")
      #expect(half["move"]?["bytes_done"] == .integer(1 << 20) && half["move"]?["bytes_total"] == .integer(4 << 20))
      #expect(half["operation"]?["progress"] == 25, "\(half)")
      #expect(half["state"] == "available" && half["reason"] == "copying (25 %)")
      try await agent.see(documents)
      try await test.settle()
      let moved = await test.call(.get, "/v1/volumes/data")
      #expect(moved["pool"] == "fast" && moved["move"] == .null && moved["operation"] == .null, "\(moved)")
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 1)
      #expect(await claimed(test, "fast") == 2)
      let operation = try #require(accepted["operation"]?["id"]?.stringValue)
      #expect(await test.call(.get, "/v1/operations/\(operation)")["status"] == "succeeded")
      _ = try await agent.pollOnly()
      #expect(agent.newVolumes().map(\.pool) == ["fast"])
      #expect(agent.newVolumes().compactMap(\.move) == [])
    }
  }

  @Test("what cannot be moved, or not there, is refused with what would work")
  func refusals() async throws {
    try await withNode { test, agent async throws in
      let same = await move(test, to: "local")
      #expect(same.code == "wrong_state" && same.place == "/pool", "\(same)")
      #expect(await move(test, to: "nowhere").code == "not_found")
      let far = await move(test, to: "absent")
      #expect(far.code == "wrong_state" && far.description.contains("does not reach"), "\(far)")
      let full = await move(test, to: "small")
      #expect(full.code == "no_capacity" && full.place == "/pool", "\(full)")
      _ = await test.call(.patch, "/v1/storage-pools/small", ["overcommit": 2])
      #expect(await test.call(.post, "/v1/volumes/data/move?dry_run=true", ["pool": "small"]).status == 200)

      _ = await test.call(.post, "/v1/snapshots", ["name": "before", "volume": "data"])
      try await agent.obey()
      try await test.settle()
      let snapshots = await move(test)
      #expect(snapshots.code == "in_use" && snapshots.description.contains("before"), "\(snapshots)")
      _ = await test.call(.delete, "/v1/snapshots/before")
      try await agent.obey()
      try await test.settle()

      let encrypted = await test.call(
        .post, "/v1/volumes", ["name": "safe", "size_gib": 1, "encrypted": true])
      #expect(encrypted.status == 202, "\(encrypted)")
      try await agent.obey()
      try await test.settle()
      #expect(await move(test, to: "shared", "safe").code == "encryption_unsupported")
    }
  }

  @Test("while it moves nothing else is done with it; its name may change")
  func meanwhile() async throws {
    try await withNode { test, agent async throws in
      #expect(await move(test).status == 202)
      let calls: [(String, JSONValue)] = [
        ("/v1/volumes/data/move", ["pool": "shared"]), ("/v1/volumes/data/grow", ["size_gib": 5]),
        ("/v1/volumes/data/attach", ["vm": "web"]), ("/v1/snapshots", ["name": "s", "volume": "data"]),
        ("/v1/backups", ["name": "b", "volume": "data"]), ("/v1/volumes", ["name": "c", "volume": "data"]),
        ("/v1/images", ["name": "i", "source": ["volume": "data"]]),
      ]
      for (path, body) in calls {
        let answer = await test.call(.post, path, body)
        #expect(answer.code == "wrong_state" && answer.description.contains("moved to pool fast"), "\(path) \(answer)")
      }
      #expect(await test.call(.patch, "/v1/volumes/data", ["name": "other"]).status == 200)
      #expect(await test.call(.delete, "/v1/storage-pools/fast").code == "in_use")
      try await agent.obey()
    }
  }

  @Test("a full pool, and what does not mend itself, end it; the volume stays when nothing of the copy is left")
  func givenUp() async throws {
    try await withNode { test, agent async throws in
      let accepted = await move(test)
      let operation = try #require(accepted["operation"]?["id"]?.stringValue)
      _ = try await agent.pollOnly()
      let full = Observation.Problem(code: .nodeDiskFull, detail: "pool fast is full")
      try await agent.see(agent.newVolumes(), isMoving: true, problem: full)
      try await test.settle()
      #expect(await test.call(.get, "/v1/operations/\(operation)")["status"] == "running")
      #expect(await test.call(.post, "/v1/volumes/data/grow", ["size_gib": 5]).code == "wrong_state")
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      #expect(documents.map(\.move) == [.init(pool: "fast", isGivenUp: true)])
      try await agent.see(documents)
      try await test.settle()
      let ended = await test.call(.get, "/v1/operations/\(operation)")
      #expect(ended["status"] == "failed" && ended["error"]?["code"] == "node_disk_full", "\(ended)")
      let volume = await test.call(.get, "/v1/volumes/data")
      #expect(volume["pool"] == "local" && volume["move"] == .null, "\(volume)")
      #expect(await claimed(test, "fast") == 0)
      try await agent.obey()
    }
  }

  @Test("a move that was given up too late has succeeded")
  func tooLate() async throws {
    try await withNode { test, agent async throws in
      let accepted = await move(test)
      let operation = try #require(accepted["operation"]?["id"]?.stringValue)
      _ = try await agent.pollOnly()
      let full = Observation.Problem(code: .nodeDiskFull, detail: "pool fast is full")
      try await agent.see(agent.newVolumes(), isMoving: true, problem: full)
      try await test.settle()
      _ = try await agent.pollOnly()
      var documents = agent.newVolumes()
      documents[0].move?.isGivenUp = nil
      try await agent.see(documents)
      try await test.settle()
      #expect(await test.call(.get, "/v1/operations/\(operation)")["status"] == "succeeded")
      #expect(await test.call(.get, "/v1/volumes/data")["pool"] == "fast")
      try await agent.obey()
    }
  }

  @Test("deleting wins over a move, and frees both pools")
  func deletion() async throws {
    try await withNode { test, agent async throws in
      let accepted = await move(test)
      let operation = try #require(accepted["operation"]?["id"]?.stringValue)
      _ = try await agent.pollOnly()
      try await agent.see(agent.newVolumes(), isMoving: true)
      try await test.settle()
      let deleted = await test.call(.delete, "/v1/volumes/data")
      #expect(deleted.status == 202, "\(deleted)")
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      #expect(documents.map(\.deleted) == [true] && documents.map(\.move?.pool) == ["fast"])
      try await agent.see(documents)
      try await test.settle()
      let ended = await test.call(.get, "/v1/operations/\(operation)")
      #expect(ended["error"]?["code"] == "superseded", "\(ended)")
      #expect(await claimed(test, "fast") == 0)
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 1)
    }
  }

  @Test("a volume of a running VM moves with it attached, and goes with it when that is deleted")
  func attached() async throws {
    try await withNode { test, agent async throws in
      let accepted = await move(test, "shared", of: "web-boot")
      #expect(accepted.status == 202 && accepted["state"] == "in_use", "\(accepted)")
      #expect(await test.call(.post, "/v1/snapshots", ["name": "s", "vm": "web"]).code == "wrong_state")
      #expect(await test.call(.post, "/v1/volumes/web-boot/detach").code == "wrong_state")
      try await agent.obey()
      try await test.settle()
      let moved = await test.call(.get, "/v1/volumes/web-boot")
      #expect(moved["pool"] == "shared" && moved["vm_id"] != .null, "\(moved)")
      #expect(await claimed(test, "shared") == 1)
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 2)
      try await agent.obey()
      #expect(await move(test, "fast", of: "web-boot").status == 202)
      _ = await test.call(.delete, "/v1/vms/web")
      let documents = try await agent.pollOnly()
      let gone = agent.newVolumes()
      #expect(gone.map(\.deleted) == [true] && gone.map(\.move?.pool) == ["fast"])
      for document in documents { try await agent.see(document, .absent) }
      try await agent.see(gone)
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes")["items"]?.arrayValue?.count == 1)
      for pool in ["shared", "fast"] { #expect(await claimed(test, pool) == 0) }
    }
  }

  private func move(_ test: TestPlane, _ pool: String, of volume: String) async -> Answer {
    await move(test, to: pool, volume)
  }

  @Test("the snapshot that backups build on goes, and the next one is a full one")
  func anchor() async throws {
    try await withNode { test, agent async throws in
      try await test.database.run { session in
        try session.execute(
          """
          INSERT INTO backups (id, project_id, name, volume_id, volume_name, size_gib, chunk_bytes, snapshot_id, state,
                               taken_at, manifest_sha256)
          SELECT id, project_id, 'old', id, name, size_gib, 1048576, id, 'available', aloft_now(), 'x'
            FROM volumes WHERE name = 'data'
          """)
      }
      #expect(await move(test).status == 202)
      #expect(try await test.count("SELECT count(*) FROM backups WHERE keeps_snapshot") == 0)
      _ = try await agent.pollOnly()
      #expect(agent.newVolumes().map(\.snapshots) == [[]])
      _ = try await agent.poll()
      try await test.database.run { session in try session.execute("DELETE FROM backups") }
    }
  }

  @Test("a node that is removed ends it: what was going to a shared pool is there or lost, what came from one stays")
  func nodeLost() async throws {
    try await withNode { test, agent async throws in
      #expect(await move(test, to: "shared").status == 202)
      let shared = await test.call(.post, "/v1/volumes", ["name": "net", "size_gib": 1, "pool": "shared"])
      #expect(shared.status == 202, "\(shared)")
      _ = try await agent.pollOnly()
      try await agent.see(agent.newVolumes(), isMoving: true)
      try await test.settle()
      #expect(await move(test, to: "fast", "net").status == 202)
      _ = try await agent.pollOnly()
      try await agent.see(agent.newVolumes(), isMoving: true)
      let removed = await test.call(.delete, "/v1/nodes/node-a?force=true")
      #expect(removed.status < 300, "\(removed)")
      try await test.settle()
      for name in ["data", "net"] {
        let volume = await test.call(.get, "/v1/volumes/\(name)")
        #expect(volume["pool"] == "shared" && volume["move"] == .null && volume["operation"] == .null, "\(volume)")
      }
    }
  }
}
