import AloftModel
import JSON
import Testing

@testable import ControlPlane

@Suite("Snapshots with memory")
struct SnapshotMemoryTests {
  /// A plane with one node and a VM that has two volumes, and runs.
  private func withVM(
    encrypted: Bool = false, _ body: (TestPlane, FakeAgent) async throws -> Void
  ) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/vms", TestPlane.body("web"))
      let data: JSONValue = ["name": "data", "size_gib": 2, "encrypted": .bool(encrypted)]
      _ = await test.call(.post, "/v1/volumes", data)
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"])
      try await agent.obey()
      try await test.settle()
      try await body(test, agent)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  private static let wanted: JSONValue = ["name": "before", "vm": "web", "memory": true]

  @Test("memory is kept beside the boot volume, promised and counted; the VM goes on from it once")
  func life() async throws {
    try await withVM { test, agent async throws in
      #expect(try await test.promised() == 3)
      let made = await test.call(.post, "/v1/snapshots", Self.wanted)
      #expect(made.status == 202 && made["memory"] == true && made["memory_bytes"] == .null, "\(made)")
      #expect(try await test.promised() == 5, "twice its memory, and a little more")
      #expect(try await test.findings() == [])
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      let boot = try #require(documents.first { $0.source?.image != nil || $0.sizeBytes == 1 << 30 }?.volume)
      #expect(documents.count == 2 && documents.allSatisfy { $0.snapshots.first?.memory == boot })
      try await agent.see(documents)
      try await test.settle()
      let taken = await test.call(.get, "/v1/snapshots/before")
      #expect(taken["state"] == "available" && taken["memory_bytes"]?.intValue == 5 << 20, "\(taken)")
      #expect(taken["memory_pending"] == false)
      #expect(try await test.promised() == 4, "as much as was written")

      _ = await test.call(.post, "/v1/vms/web/stop")
      try await agent.obey()
      try await test.settle()
      let reverted = await test.call(.post, "/v1/snapshots/before/revert", ["memory": true])
      #expect(reverted.status == 202 && reverted["memory_pending"] == true, "\(reverted)")
      try await agent.obey()
      try await test.settle()
      let needed = await test.call(.delete, "/v1/snapshots/before")
      #expect(needed.code == "in_use" && needed.description.contains("memory"), "\(needed)")
      _ = await test.call(.post, "/v1/vms/web/start")
      let document = try #require(try await agent.poll().first)
      let memory = try #require(document.memory)
      #expect(memory.volume == boot && memory.epochs.map(\.epoch) == [1, 1], "\(memory)")
      try await agent.see(document, .running, resumed: memory.request)
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before")["memory_pending"] == false)
      _ = await test.call(.post, "/v1/vms/web/stop")
      #expect(try await agent.poll().allSatisfy { $0.memory == nil })
      #expect(await test.call(.delete, "/v1/snapshots/before").status == 202)
      try await agent.obey()
      try await test.settle()
      #expect(try await test.promised() == 3)
    }
  }

  @Test("memory is refused of a VM that does not run, of one volume, and where it would betray an encrypted one")
  func refusals() async throws {
    try await withVM { test, agent async throws in
      let alone = await test.call(.post, "/v1/snapshots", ["name": "a", "volume": "data", "memory": true])
      #expect(alone.code == "missing_field" && alone.place == "/vm", "\(alone)")
      _ = await test.call(.post, "/v1/vms/web/stop")
      let stopping = await test.call(.post, "/v1/snapshots", Self.wanted)
      #expect(stopping.code == "wrong_state" && stopping.description.contains("does not run"), "\(stopping)")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.post, "/v1/snapshots", ["name": "plain", "vm": "web"]).status == 202)
      try await agent.obey()
      try await test.settle()
      let none = await test.call(.post, "/v1/snapshots/plain/revert", ["memory": true])
      #expect(none.code == "wrong_state" && none.description.contains("has no memory"), "\(none)")
    }
    try await withVM(encrypted: true) { test, _ async throws in
      let refused = await test.call(.post, "/v1/snapshots", Self.wanted)
      #expect(refused.code == "encryption_unsupported", "\(refused)")
    }
  }

  @Test(
    "a VM that is not what it was does not get the memory; what puts a volume back again, or takes one away, ends the wait"
  )
  func machine() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.post, "/v1/snapshots", Self.wanted)
      try await agent.obey()
      _ = await test.call(.post, "/v1/vms/web/stop")
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/snapshots/before/revert", ["memory": true])
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before")["memory_pending"] == true)
      _ = await test.call(.post, "/v1/snapshots/before/revert")
      #expect(await test.call(.get, "/v1/snapshots/before")["memory_pending"] == false)
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/snapshots/before/revert", ["memory": true])
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/volumes/data/detach")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before")["memory_pending"] == false)
      let other = await test.call(.post, "/v1/snapshots/before/revert", ["memory": true])
      #expect(other.status == 409 && other.code == "memory_mismatch", "\(other)")
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"])
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before")["memory_pending"] == false, "it may hold anything")
      #expect(await test.call(.post, "/v1/snapshots/before/revert", ["memory": true]).status == 202)
      try await agent.obey()
      try await test.settle()
      // A start that cannot load it fails at once, and says why.
      let start = await test.call(.post, "/v1/vms/web/start")
      let document = try #require(try await agent.poll().first)
      try await agent.see(document, .stopped, problem: .init(code: .memoryUnusable, detail: "it is cut off"))
      try await test.settle()
      let operation = await test.call(.get, "/v1/operations/\(start["operation"]?["id"]?.stringValue ?? "")")
      #expect(operation["error"]?["code"] == "memory_unusable", "\(operation)")
      _ = await test.call(.delete, "/v1/vms/web")
      try await agent.obey()
      try await test.settle()
      let left = await test.call(.get, "/v1/snapshots/before")
      #expect(left["memory"] == false && left["vm_id"] == .null, "it went with the boot volume: \(left)")
    }
  }

  @Test(
    "a snapshot whose memory cannot be kept fails at once and is taken back; an agent that knows nothing of memory has none"
  )
  func lost() async throws {
    try await withVM { test, agent async throws in
      let made = await test.call(.post, "/v1/snapshots", Self.wanted)
      _ = try await agent.pollOnly()
      let problem = Observation.Problem(code: .memoryUnsaved, detail: "the guest has ended")
      try await agent.see(agent.newVolumes(), problem: problem, taking: false)
      try await test.settle()
      let failed = await test.call(.get, "/v1/operations/\(made["operation"]?["id"]?.stringValue ?? "")")
      #expect(failed["error"]?["code"] == "memory_unsaved", "\(failed)")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before").status == 404)

      let again = await test.call(.post, "/v1/snapshots", Self.wanted)
      _ = try await agent.pollOnly()
      try await agent.see(agent.newVolumes(), memoryBytes: nil)
      try await test.settle()
      let old = await test.call(.get, "/v1/operations/\(again["operation"]?["id"]?.stringValue ?? "")")
      #expect(old["error"]?["code"] == "memory_unsaved", "\(old)")
      try await agent.obey()
      try await test.settle()
    }
  }

  @Test("what it may take has to fit on the node")
  func room() async throws {
    try await withVM { test, agent async throws in
      let data = await test.call(.post, "/v1/volumes", ["name": "filler", "size_gib": 96])
      #expect(data.status == 202, "\(data)")
      try await agent.obey()
      try await test.settle()
      let refused = await test.call(.post, "/v1/snapshots", Self.wanted)
      #expect(refused.code == "no_capacity" && refused.place == "/memory", "\(refused)")
      #expect(await test.call(.get, "/v1/snapshots/before").status == 404)
    }
  }
}

extension TestPlane {
  /// GiB that are promised on the node.
  fileprivate func promised() async throws -> Int? {
    await call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"]?.intValue
  }
}
