import AloftModel
import Foundation
import JSON
import Testing

@testable import ControlPlane

@Suite("Storage pools that nodes share")
struct SharedPoolTests {
  private static func report(free: Int = 100 << 30, problem: String? = nil, reaches: Bool = true) -> NodeReport {
    var report = FakeAgent.report()
    let local = NodeStoragePool(
      name: "local", kind: .directory, totalBytes: 100 << 30, freeBytes: 100 << 30, usedBytes: 0)
    let shared = NodeStoragePool(
      name: "shared", kind: .rbd, totalBytes: 100 << 30, freeBytes: free, usedBytes: (100 << 30) - free,
      problem: problem)
    report.pools = reaches ? [local, shared] : [local]
    return report
  }

  /// A plane with the pool, and two nodes that reach it; the first has a VM `web` that runs.
  private func withNodes(_ body: (TestPlane, FakeAgent, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let made = await test.call(.post, "/v1/storage-pools", ["name": "shared", "kind": "rbd"])
      try #require(made.status == 201, "\(made)")
      let first = try await FakeAgent.join(test)
      _ = try await first.send(report: Self.report())
      _ = try await test.createVM("web")
      try await first.obey()
      try await test.settle()
      let second = try await FakeAgent.join(test, "node-b")
      _ = try await second.send(report: Self.report())
      try await body(test, first, second)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  private func make(_ test: TestPlane, _ agent: FakeAgent, _ gib: Int = 2) async throws {
    let made = await test.call(
      .post, "/v1/volumes", ["name": "data", "size_gib": .integer(Int64(gib)), "pool": "shared", "vm": "web"])
    try #require(made.status == 202, "\(made)")
    try await agent.obey()
    try await test.settle()
  }

  /// Another VM.
  private func makeOther(_ test: TestPlane, on agent: FakeAgent) async throws {
    let rest = agent.name == "node-a" ? "node-b" : "node-a"
    _ = await test.call(.patch, "/v1/nodes/\(agent.name)", ["schedulable": true])
    _ = await test.call(.patch, "/v1/nodes/\(rest)", ["schedulable": false])
    _ = try await test.createVM("other")
    try await agent.obey()
    try await test.settle()
    _ = await test.call(.patch, "/v1/nodes/\(rest)", ["schedulable": true])
  }

  @Test("what a shared pool has and has promised is counted once, and operators are told once that it gets full")
  func capacity() async throws {
    try await withNodes { test, first, second async throws in
      try await make(test, first, 60)
      let pool = await test.call(.get, "/v1/storage-pools/shared")
      #expect(pool["shared"]?["claimed_gib"] == 60, "\(pool)")
      #expect(pool["shared"]?["limit_gib"] == 100)
      #expect(pool["places"]?.arrayValue?.count == 2)
      #expect(pool["places"]?[0]?["claimed_gib"] == .null)
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 1, "only the boot disk is there")
      let full = await test.call(.post, "/v1/volumes", ["name": "more", "size_gib": 60, "pool": "shared"])
      #expect(full.code == "no_capacity" && full.place == "/pool", "\(full)")
      let grown = await test.call(.post, "/v1/volumes/data/grow", ["size_gib": 101])
      #expect(grown.code == "no_capacity" && grown.place == "/size_gib", "\(grown)")

      for agent in [first, second] { _ = try await agent.send(report: Self.report(free: 10 << 30)) }
      for agent in [first, second] { _ = try await agent.send(report: Self.report(free: 11 << 30)) }
      _ = try await second.send(report: Self.report(free: 0, problem: "the cluster does not answer"))
      #expect(try await test.count("SELECT count(*) FROM events WHERE kind = 'storage_pool.filling'") == 1)
      #expect(await test.call(.get, "/v1/storage-pools/shared")["shared"]?["level"] == "warning")
      _ = await test.call(.patch, "/v1/storage-pools/shared", ["overcommit": 2])
      #expect(await test.call(.get, "/v1/storage-pools/shared")["shared"]?["limit_gib"] == 200)
      let tenant = TestPlane.bearer(try await test.makeToken(["default": .member]))
      #expect(await test.call(.get, "/v1/storage-pools/shared", headers: tenant)["shared"] == .null)

      _ = await test.call(.delete, "/v1/volumes/data")
      try await first.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/storage-pools/shared")["shared"]?["claimed_gib"] == 0)
    }
  }

  @Test(
    "one node that reaches a shared pool looks through it, and is told what of it the cloud does not know, or misses")
  func lookedThrough() async throws {
    try await withNodes { test, first, second async throws in
      try await make(test, first)
      func looks(_ agent: FakeAgent, at pool: String = "shared") async throws -> Bool {
        let answer = await agent.send(.get, "pools/\(pool)")
        try #require(answer.status == 200, "\(answer)")
        return answer["look"] == true
      }
      #expect(try await looks(first) != looks(second))
      #expect(try await looks(first, at: "local") == false)
      let chosen = try await looks(first) ? first : second
      let other = chosen.name == first.name ? second : first
      _ = try await chosen.send(report: Self.report(problem: "the cluster does not answer"))
      #expect(try await looks(other))

      let data = try #require(VolumeID(await test.call(.get, "/v1/volumes/data")["id"]?.stringValue ?? ""))
      func compare(_ agent: FakeAgent, _ volumes: [VolumeID], _ snapshots: [SnapshotID] = []) async throws -> Answer {
        let contents = SharedPoolContents(volumes: volumes, snapshots: snapshots)
        return await agent.send(.post, "pools/shared/contents", bytes: try JSONCoder.encode(contents))
      }
      let stranger = VolumeID(UUID())
      var answer = try await compare(other, [data, stranger], [SnapshotID(UUID())])
      #expect(answer["unknown_volumes"] == [.string("\(stranger)")] && answer["missing"] == [], "\(answer)")
      #expect(answer["unknown_snapshots"]?.arrayValue?.count == 1)
      answer = try await compare(other, [])
      #expect(answer["missing"] == [.string("\(data)")], "\(answer)")
      _ = await test.call(.delete, "/v1/volumes/data")
      #expect(try await compare(other, [])["missing"] == [], "one that is being deleted is not missed")
      #expect(try await compare(other, [data])["unknown_volumes"] == [], "nor is it unknown before it is gone")
      try await first.obey()
      try await test.settle()
      #expect(try await compare(other, [data])["unknown_volumes"] == [.string("\(data)")])
      _ = try await other.send(report: Self.report(reaches: false))
      let third = try await FakeAgent.join(test, "node-c")
      #expect(try await compare(third, []).status == 404)
    }
  }

  @Test("a node that has a pool of another kind under the name has a problem, and nothing of it counts")
  func otherKind() async throws {
    try await withNodes { test, _, second async throws in
      var report = Self.report()
      report.pools = [
        NodeStoragePool(name: "shared", kind: .directory, totalBytes: 1 << 50, freeBytes: 1 << 50, usedBytes: 0)
      ]
      _ = try await second.send(report: report)
      let pool = await test.call(.get, "/v1/storage-pools/shared")
      #expect(pool["shared"]?["limit_gib"] == 100)
      #expect(pool["places"]?[1]?["problem"]?.stringValue?.contains("kind rbd") == true, "\(pool)")
    }
  }

  @Test("a volume goes to another node's VM when its node has let go of it, and not before")
  func handOver() async throws {
    try await withNodes { test, first, second async throws in
      try await make(test, first)
      try await makeOther(test, on: second)
      let attached = await test.call(.post, "/v1/volumes/data/attach", ["vm": "other"])
      #expect(attached.status == 202, "\(attached)")
      #expect(attached["node"] == "node-a")
      #expect(attached["reason"]?.stringValue?.contains("hands it over to node-b") == true, "\(attached)")
      let snapshot = await test.call(.post, "/v1/snapshots", ["name": "s", "volume": "data"])
      #expect(snapshot.code == "wrong_state", "\(snapshot)")

      _ = try await first.pollOnly()
      let released = first.newVolumes()
      #expect(released.map(\.released) == [true])
      let document = try #require(try await second.pollOnly().first)
      #expect(document.disks.count == 2)
      #expect(second.newVolumes() == [], "its node has not let go of it")
      try await first.see(released, .ready, activity: "waiting for the guest that has it open")
      try await test.settle()
      _ = try await second.pollOnly()
      #expect(second.newVolumes() == [])

      try await first.see(released)
      try await test.settle()
      _ = try await second.pollOnly()
      let got = second.newVolumes()
      #expect(got.map(\.released) == [nil] && got.map(\.fence) == [nil] && got.map(\.isMade) == [true])
      #expect(await test.call(.get, "/v1/volumes/data")["node"] == "node-b")
      #expect(await test.call(.get, "/v1/volumes/data")["state"] == "in_use", "it is what it was")
      // What comes late changes nothing.
      try await first.see(released, .preparing)
      try await second.see(got)
      try await second.see(document, .running)
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["operation"] == .null)
      #expect(await test.call(.get, "/v1/storage-pools/shared")["shared"]?["claimed_gib"] == 2)

      // Back, before the other one has let go.
      _ = await test.call(.post, "/v1/volumes/data/detach")
      try await second.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"])
      _ = await test.call(.post, "/v1/volumes/data/detach")
      try await first.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "other"])
      _ = try await second.pollOnly()
      #expect(second.newVolumes().map(\.released) == [nil], "it stays")
    }
  }

  @Test("a node that does not reach the pool gets no volume of it, and says why")
  func unreached() async throws {
    try await withNodes { test, first, second async throws in
      try await make(test, first)
      try await makeOther(test, on: second)
      _ = try await second.send(report: Self.report(problem: "no key"))
      let attached = await test.call(.post, "/v1/volumes/data/attach", ["vm": "other"])
      #expect(attached.code == "wrong_state" && attached.place == "/vm", "\(attached)")
      #expect(attached.description.contains("no key"))
      let near = await test.call(
        .post, "/v1/volumes", ["name": "near", "size_gib": 1, "pool": "shared", "vm": "other"])
      #expect(near.code == "wrong_state", "\(near)")
      let anywhere = await test.call(.post, "/v1/volumes", ["name": "any", "size_gib": 1, "pool": "shared"])
      #expect(anywhere["node"] == "node-a", "\(anywhere)")
    }
  }

  @Test("when a node is removed, another one that reaches the pool gets its volumes, cuts it off, and deletes them")
  func removed() async throws {
    try await withNodes { test, first, second async throws in
      try await make(test, first)
      _ = await test.call(.post, "/v1/snapshots", ["name": "before", "volume": "data"])
      try await first.obey()
      try await test.settle()
      _ = try await second.send(report: Self.report(problem: "not yet"))
      #expect(await test.call(.delete, "/v1/nodes/node-a?force=true").status == 204)
      try await test.settle()
      let waiting = await test.call(.get, "/v1/volumes/data")
      #expect(waiting["state"] == "unknown", "\(waiting)")
      #expect(await test.call(.get, "/v1/snapshots/before")["state"] == "available")
      #expect(await test.call(.delete, "/v1/snapshots/before").status == 202)
      #expect(await test.call(.delete, "/v1/volumes/data").code == "in_use", "its snapshot is not gone")

      _ = try await second.send(report: Self.report())
      try await test.database.execute("UPDATE work SET due_at = aloft_now()")
      try await test.settle()
      _ = try await second.pollOnly()
      let got = second.newVolumes()
      #expect(got.map(\.fence) == [true] && got.map(\.isMade) == [true], "\(got)")
      try await second.see(got)
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before").status == 404)
      #expect(await test.call(.delete, "/v1/volumes/data").status == 202)
      try await second.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data").status == 404)
      _ = await test.call(.delete, "/v1/vms/web")
    }
  }

  @Test(
    "a volume in a shared pool is backed up by another node when its own is removed meanwhile, and restored into it")
  func backedUp() async throws {
    try await withNodes { test, first, second async throws in
      try await make(test, first)
      let asked = await test.call(.post, "/v1/backups", ["name": "one", "volume": "data"])
      try #require(asked.status == 202, "\(asked)")
      func work() async throws {
        try await test.database.execute("UPDATE work SET due_at = aloft_now()")
        try await test.settle()
        _ = try await test.plane.stepImages()
      }
      #expect(await test.call(.delete, "/v1/nodes/node-a?force=true").status == 204)
      try await work()
      #expect(await test.call(.get, "/v1/backups/one")["state"] == "creating")
      _ = try await second.pollOnly()
      let got = second.newVolumes()
      #expect(got.map { $0.backups?.count } == [1], "\(got)")
      try await second.see(got)
      try await test.settle()

      let backup = try #require(got.first?.backups?.first)
      let manifest = BackupManifest(sizeBytes: 2 << 30, chunkBytes: backup.chunkBytes, reading: .full)
      let sent = await second.send(.put, "backups/\(backup.backup)/manifest", bytes: manifest.text)
      #expect(sent.status == 204, "\(sent)")
      #expect(await test.call(.get, "/v1/backups/one")["state"] == "available")
      let restored = await test.call(.post, "/v1/volumes/data/restore", ["backup": "one"])
      #expect(restored.status == 202, "\(restored)")
      let new = await test.call(.post, "/v1/volumes", ["name": "new", "backup": "one", "pool": "shared"])
      #expect(new.status == 202, "\(new)")
      _ = try await second.pollOnly()
      let documents = second.newVolumes()
      #expect(documents.compactMap { $0.restoring?.backup ?? $0.source?.backup } == [backup.backup, backup.backup])
      try await second.see(documents)
      try await test.settle()
      #expect(await test.call(.delete, "/v1/backups/one").status == 204)
      for volume in ["data", "new"] { _ = await test.call(.delete, "/v1/volumes/\(volume)") }
      _ = await test.call(.delete, "/v1/vms/web")
      try await second.obey()
      try await work()
      try await second.obey()
      try await work()
    }
  }

  @Test("a node that is down keeps no free volume from being used or deleted elsewhere; it is cut off")
  func down() async throws {
    try await withNodes { test, first, second async throws in
      try await make(test, first)
      try await makeOther(test, on: second)
      try await test.database.execute(
        """
        INSERT INTO node_leases (node_id, renewed_at, expires_at) VALUES (\(first.id), aloft_now(), '-infinity')
        ON CONFLICT (node_id) DO UPDATE SET expires_at = '-infinity'
        """)
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "other"])
      try await test.settle()
      _ = try await second.pollOnly()
      #expect(second.newVolumes().map(\.fence) == [true])
    }
  }

  @Test("a VM whose node was removed is started elsewhere if all of its volumes are shared, else is told what it lost")
  func elsewhere() async throws {
    try await withNodes { test, first, second async throws in
      let made = await test.call(
        .post, "/v1/volumes", ["name": "boot", "image": "tiny", "pool": "shared", "vm": "web"])
      try #require(made.status == 202, "\(made)")
      try await first.obey()
      _ = await test.call(.post, "/v1/vms/web/stop")
      try await first.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/volumes/boot/attach", ["vm": "web", "boot_index": 1])
      try await first.obey()
      try await test.settle()
      #expect(
        await test.call(
          .post, "/v1/placement/explain",
          ["vcpus": 1, "memory_mib": 512, "disk_gib": 1, "volumes": ["boot"]])["fits"] == true)
      _ = await test.call(.patch, "/v1/nodes/node-a", ["schedulable": false])
      let pinned = await test.call(
        .post, "/v1/placement/explain",
        ["vcpus": 1, "memory_mib": 512, "disk_gib": 1, "volumes": ["boot", "web-boot"]])
      #expect(pinned["fits"] == false, "\(pinned)")
      #expect(pinned.description.contains("volumes in pools that nodes do not share"))

      // Without its local disk, and with it.
      _ = await test.call(.post, "/v1/volumes/web-boot/detach")
      try await first.obey()
      try await test.settle()
      try await makeOther(test, on: first)
      #expect(await test.call(.delete, "/v1/nodes/node-a?force=true").status == 204)
      try await test.settle()
      let lost = await test.call(.post, "/v1/vms/other/start")
      #expect(lost.code == "wrong_state" && lost.description.contains("other-boot"), "\(lost)")
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "failed")

      let started = await test.call(.post, "/v1/vms/web/start")
      try #require(started.status == 202, "\(started)")
      #expect(started["node"] == "node-b")
      try await test.settle()
      let document = try #require(try await second.pollOnly().first)
      #expect(document.incarnation == 2 && document.power == .running)
      let got = second.newVolumes()
      #expect(got.map(\.fence) == [true] && got.map(\.vm) == [document.vm], "\(got)")
      try await second.see(got)
      try await second.see(document, .running)
      try await test.settle()
      let running = await test.call(.get, "/v1/vms/web")
      #expect(running["state"] == "running", "\(running)")
      #expect(running["operation"] == .null)
    }
  }
}
