import AloftModel
import JSON
import Testing

@testable import ControlPlane

@Suite("Snapshots")
struct SnapshotTests {
  /// A plane with one node and a VM that has two volumes, stopped.
  private func withVM(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/vms", TestPlane.body("web", ("power", "stopped")))
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 2])
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

  @Test("a snapshot of a VM is of all its volumes, and there when all of them have it")
  func allOrNothing() async throws {
    try await withVM { test, agent async throws in
      let made = await test.call(.post, "/v1/snapshots", ["name": "before", "vm": "web"])
      #expect(made.status == 202, "\(made)")
      #expect(made["state"] == "creating")
      #expect(made["volumes"]?.arrayValue?.count == 2)
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      #expect(documents.count == 2)
      #expect(documents.allSatisfy { $0.snapshots.first?.volumes.count == 2 && $0.snapshots.first?.isTaken == false })
      try await agent.see(Array(documents.prefix(1)))
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before")["state"] == "creating")
      try await agent.see(Array(documents.suffix(1)))
      try await test.settle()
      let taken = await test.call(.get, "/v1/snapshots/before")
      #expect(taken["state"] == "available", "\(taken)")
      #expect(taken["operation"] == .null)

      _ = await test.call(.post, "/v1/snapshots", ["name": "after", "volume": "data"])
      try await agent.obey()
      try await test.settle()
      let after = await test.call(.get, "/v1/snapshots/after")
      #expect(after["volumes"]?[0]?["parent_id"] == taken["id"], "\(after)")
      #expect(await test.call(.get, "/v1/snapshots?vm=web")["items"]?.arrayValue?.count == 1)
      #expect(await test.call(.get, "/v1/snapshots?volume=data")["items"]?.arrayValue?.count == 2)
    }
  }

  @Test("volumes are put back while no guest runs on them, and a clone shares what the snapshot holds")
  func revertAndClone() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.post, "/v1/snapshots", ["name": "before", "vm": "web"])
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/vms/web/start")
      try await agent.obey()
      try await test.settle()
      let running = await test.call(.post, "/v1/snapshots/before/revert")
      #expect(running.code == "wrong_state", "\(running)")
      _ = await test.call(.post, "/v1/vms/web/stop")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.post, "/v1/snapshots/before/revert").status == 202)
      #expect(await test.call(.delete, "/v1/snapshots/before").code == "in_use", "it is being put back to")
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      #expect(documents.allSatisfy { $0.epoch == 1 && $0.base != nil })
      try await agent.see(documents)
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before")["operation"] == .null)

      let which = await test.call(.post, "/v1/volumes", ["name": "copy", "snapshot": "before"])
      #expect(which.place == "/volume", "\(which)")
      let small = await test.call(
        .post, "/v1/volumes", ["name": "copy", "snapshot": "before", "volume": "data", "size_gib": 1])
      #expect(small.place == "/size_gib", "\(small)")
      let clone = await test.call(.post, "/v1/volumes", ["name": "copy", "snapshot": "before", "volume": "data"])
      #expect(clone["size_gib"] == 2, "\(clone)")
      _ = try await agent.pollOnly()
      let document = try #require(agent.newVolumes().first)
      #expect(
        document.source?.snapshot != nil
          && document.source?.volume == documents.first { $0.sizeBytes == 2 << 30 }?.volume)
      #expect(await test.call(.delete, "/v1/snapshots/before").code == "in_use", "a clone is being made")
      try await agent.see([document])
      try await test.settle()
      #expect(await test.call(.delete, "/v1/snapshots/before").status == 202, "the clone is made")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before").status == 404)
      #expect(await test.call(.get, "/v1/volumes/copy")["state"] == "available")
    }
  }

  @Test("a volume with snapshots is not deleted alone, but goes with its VM, and its snapshots with it")
  func deletion() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.post, "/v1/snapshots", ["name": "before", "volume": "web-boot"])
      _ = await test.call(.post, "/v1/snapshots", ["name": "kept", "volume": "data"])
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.delete, "/v1/vms/web")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/snapshots/before").status == 404)
      let refused = await test.call(.delete, "/v1/volumes/data")
      #expect(refused.code == "in_use", "\(refused)")
      #expect(refused.description.contains("kept"))
      _ = await test.call(.delete, "/v1/snapshots/kept")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.delete, "/v1/volumes/data").status == 202)
      try await agent.obey()
    }
  }

  @Test("a snapshot whose volumes go while a clone is being made from it goes when that is made")
  func cloneOutlivesSource() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.post, "/v1/snapshots", ["name": "before", "volume": "web-boot"])
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.post, "/v1/volumes", ["name": "copy", "snapshot": "before"]).status == 202)
      _ = try await agent.pollOnly()
      let clone = agent.newVolumes()
      _ = await test.call(.delete, "/v1/vms/web")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/web-boot").status == 404)
      #expect(await test.call(.get, "/v1/snapshots/before").status == 200)
      #expect(try await test.findings() == [])
      try await agent.see(clone)
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/copy")["state"] == "available")
      #expect(await test.call(.get, "/v1/snapshots/before").status == 404)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a snapshot that is not taken in time is taken back: it must not be taken later")
  func deadline() {
    let member = SnapshotFacts.Member(
      isTaken: false, isThere: false, isCurrent: false, isReverted: true, host: VMHost(name: "a", alive: true),
      problem: .init(code: .nodeDiskFull, detail: "full"))
    let facts = SnapshotFacts(deleted: false, members: [member])
    let operation = OpenOperation(
      id: .init(), kind: .createSnapshot, generation: 0, deadline: .init(timeIntervalSince1970: 10))
    let waiting = SnapshotDecision.of(facts, open: [operation], now: .init(timeIntervalSince1970: 9))
    #expect(waiting.operations[operation.id] == .running(waitingFor: "full", progress: nil))
    #expect(!waiting.withdraw)
    let late = SnapshotDecision.of(facts, open: [operation], now: .init(timeIntervalSince1970: 10))
    #expect(late.operations[operation.id] == .failed(.nodeDiskFull, "full"))
    #expect(late.withdraw)
  }

  @Test("bad input is refused with its place")
  func badInput() async throws {
    try await withVM { test, _ async throws in
      #expect(await test.call(.post, "/v1/snapshots", ["name": "x"]).place == "/volume")
      let both = await test.call(.post, "/v1/snapshots", ["name": "x", "vm": "web", "volume": "data"])
      #expect(both.place == "/volume", "\(both)")
      #expect(await test.call(.post, "/v1/snapshots", ["name": "x", "vm": "nothing"]).place == "/vm")
      #expect(await test.call(.post, "/v1/snapshots", ["name": "x", "volume": "nothing"]).place == "/volume")
      _ = await test.call(.post, "/v1/volumes", ["name": "new", "size_gib": 1])
      #expect(await test.call(.post, "/v1/snapshots", ["name": "x", "volume": "new"]).code == "wrong_state")
    }
  }
}
