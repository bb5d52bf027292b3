import AloftModel
import JSON
import Testing

@Suite("Volumes of a new VM")
struct VMVolumesTests {
  private func withNode(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      try await body(test, agent)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  private func make(
    _ test: TestPlane, _ agent: FakeAgent, _ name: String, image: String? = nil
  ) async throws {
    var body: JSONObject = ["name": .string(name), "size_gib": 2]
    if let image { body["image"] = .string(image) }
    let made = await test.call(.post, "/v1/volumes", .object(body))
    try #require(made.status == 202, "\(made)")
    try await agent.obey()
    try await test.settle()
  }

  @Test("a VM without an image boots from the volume with the lowest boot index, on its node")
  func bootsFromVolume() async throws {
    try await withNode { test, agent async throws in
      let other = try await FakeAgent.join(test, "node-b")
      _ = await test.call(.patch, "/v1/nodes/node-b", ["schedulable": false])
      try await make(test, agent, "root", image: "tiny")
      try await make(test, agent, "data")
      _ = await test.call(.patch, "/v1/nodes/node-b", ["schedulable": true])
      for index in 1...3 {
        let vm = await test.call(
          .post, "/v1/vms",
          [
            "name": "web", "volumes": [["volume": "data", "bus": "scsi"], ["volume": "root", "boot_index": 3]],
          ], headers: ["Idempotency-Key": "key-of-web"])
        #expect(vm.status == 202, "\(index): \(vm)")
        #expect(vm["node"] == "node-a" && vm["disk_gib"] == 2, "\(vm)")
        #expect(vm["volumes"]?.arrayValue?.map { $0["name"] } == ["data", "root"])
        let image = await test.call(.get, "/v1/images/tiny")["id"]
        #expect(vm["image_id"] == image)
      }
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 4)
      _ = try await agent.pollOnly()
      #expect(agent.newVolumes().allSatisfy { $0.vm != nil })
      let taken = await test.call(
        .post, "/v1/vms", ["name": "other", "volumes": [["volume": "root", "boot_index": 1]]])
      #expect(taken.code == "in_use" && taken["errors"]?[0]?["pointer"] == "/volumes/0/volume", "\(taken)")
      _ = other
    }
  }

  @Test("the document has them behind the boot disk, and those that are kept outlive the VM")
  func documents() async throws {
    try await withNode { test, agent async throws in
      try await make(test, agent, "data")
      _ = await test.call(
        .post, "/v1/vms", ["name": "web", "image": "tiny", "volumes": [["volume": "data", "boot_index": 1]]])
      let document = try #require(try await agent.obey().first)
      #expect(document.disks.map(\.bootIndex) == [1, 1])
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["volumes"]?.arrayValue?.map { $0["name"] } == ["web-boot", "data"])
      try await test.settle()
      _ = await test.call(.delete, "/v1/vms/web")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes")["items"]?.arrayValue?.map { $0["name"] } == ["data"])
    }
  }

  @Test("the boot disk is made in the pool that is named, on a node that has room there")
  func pool() async throws {
    try await withNode { test, agent async throws in
      _ = await test.call(.post, "/v1/storage-pools", ["name": "fast", "kind": "dir"])
      func create(_ name: String) async -> Answer {
        await test.call(
          .post, "/v1/vms", ["name": .string(name), "image": "tiny", "disk_gib": 10, "disk_pool": "fast"])
      }
      let nowhere = await create("web")
      #expect(nowhere.code == "no_capacity", "\(nowhere)")
      #expect(nowhere.description.contains("storage_pool"), "\(nowhere)")
      _ = try await FakeAgent.join(test, "node-b")
      var report = FakeAgent.report()
      report.pools = [
        NodeStoragePool(name: "fast", kind: .directory, totalBytes: 15 << 30, freeBytes: 15 << 30, usedBytes: 0)
      ]
      _ = try await agent.send(report: report)
      let made = await create("web")
      #expect(made["node"] == "node-a", "\(made)")
      #expect(await test.call(.get, "/v1/volumes/web-boot")["pool"] == "fast")
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 0)
      #expect(await create("full").code == "no_capacity")
      #expect(await test.call(.get, "/v1/vms").description.contains("full") == false)
    }
  }

  @Test("what cannot be is refused, with the place in the body")
  func refusals() async throws {
    try await withNode { test, agent async throws in
      try await make(test, agent, "data")
      func refused(_ body: JSONValue, _ code: String, _ pointer: String) async {
        let answer = await test.call(.post, "/v1/vms", body)
        #expect(answer.code == code, "\(answer)")
        #expect(answer["errors"]?[0]?["pointer"]?.stringValue == pointer, "\(answer)")
      }
      await refused(["name": "web"], "missing_field", "/image")
      await refused(["name": "web", "volumes": [["volume": "data"]]], "missing_field", "/image")
      await refused(
        ["name": "web", "disk_gib": 4, "volumes": [["volume": "data", "boot_index": 1]]], "not_one_of", "/disk_gib")
      await refused(
        ["name": "web", "disk_pool": "local", "volumes": [["volume": "data", "boot_index": 1]]], "not_one_of",
        "/disk_pool")
      await refused(
        ["name": "web", "image": "tiny", "volumes": [["volume": "data"], ["volume": "data"]]], "duplicate_item",
        "/volumes/1/volume")
      await refused(
        ["name": "web", "image": "tiny", "volumes": [["volume": "none"]]], "not_found", "/volumes/0/volume")
      _ = await test.call(.patch, "/v1/nodes/node-a", ["schedulable": false])
      let other = try await FakeAgent.join(test, "node-b")
      try await make(test, other, "far")
      await refused(
        ["name": "web", "image": "tiny", "volumes": [["volume": "data"], ["volume": "far"]]], "wrong_state",
        "/volumes/1/volume")
      let cordoned = await test.call(
        .post, "/v1/vms", ["name": "web", "image": "tiny", "volumes": [["volume": "data"]]])
      #expect(cordoned.code == "no_capacity", "its node takes no new VMs: \(cordoned)")
    }
  }
}
