import AloftModel
import JSON
import Testing

@Suite("Volumes")
struct VolumeTests {
  /// A plane with one node, one ready image and one VM that runs.
  private func withVM(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.settle()
      try await body(test, agent)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  private func make(_ test: TestPlane, _ agent: FakeAgent, _ name: String = "data") async throws {
    let made = await test.call(.post, "/v1/volumes", ["name": .string(name), "size_gib": 2])
    try #require(made.status == 202, "\(made)")
    try await agent.obey()
    try await test.settle()
  }

  @Test("a VM's boot disk is a volume that goes with it")
  func bootDisk() async throws {
    try await withVM { test, agent async throws in
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["disk_gib"] == 1)
      #expect(vm["volumes"]?[0]?["name"] == "web-boot")
      #expect(vm["volumes"]?[0]?["boot_index"] == 1)
      let volume = await test.call(.get, "/v1/volumes/web-boot")
      #expect(volume["state"] == "in_use", "\(volume)")
      #expect(volume["vm_id"] == vm["id"])
      #expect(volume["delete_with_vm"] == true)
      #expect(volume["used_bytes"] == 4096)

      let id = try #require(vm["id"]?.stringValue)
      _ = await test.call(.delete, "/v1/vms/web")
      let documents = try await agent.pollOnly()
      let gone = agent.newVolumes()
      #expect(gone.map(\.deleted) == [true])
      try await agent.see(try #require(documents.first), .absent)
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/\(id)")["state"] == "deleting", "its disk is there still")
      try await agent.see(gone)
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes")["items"] == [])
      #expect(try await test.count("SELECT count(*) FROM vms") == 0)
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 0)
    }
  }

  @Test("a volume that is kept outlives its VM and can be attached to another one")
  func kept() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.patch, "/v1/volumes/web-boot", ["delete_with_vm": false])
      _ = await test.call(.delete, "/v1/vms/web")
      try await agent.obey()
      try await test.settle()
      let kept = await test.call(.get, "/v1/volumes/web-boot")
      #expect(kept["state"] == "available", "\(kept)")
      #expect(kept["vm_id"] == .null)
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 1)
      let image = await test.call(.delete, "/v1/images/tiny")
      #expect(image.code == "in_use", "\(image)")
      #expect(image.description.contains("web-boot"))

      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.settle()
      let other = await test.call(.get, "/v1/vms/web")["volumes"]?[0]?["name"]?.stringValue
      #expect(other != "web-boot", "the name is another volume's")
      let attached = await test.call(.post, "/v1/volumes/web-boot/attach", ["vm": "web"])
      #expect(attached.status == 202, "\(attached)")
      #expect(attached["operation"]?["kind"] == "vm.attach_volume")
    }
  }

  @Test("a volume is made, attached while the guest runs, let go of when the guest agrees, and deleted")
  func life() async throws {
    try await withVM { test, agent async throws in
      let made = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 2])
      #expect(made.status == 202, "\(made)")
      #expect(made["state"] == "creating")
      #expect(made["operation"]?["kind"] == "volume.create")
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 3)
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["state"] == "available")

      let attached = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web", "bus": "scsi"])
      #expect(attached["state"] == "in_use", "\(attached)")
      let document = try #require(try await agent.poll().first)
      #expect(document.disks.map(\.bus) == [.virtio, .scsi])
      try await agent.see(document, .running, disks: Array(document.disks.map(\.volume).prefix(1)))
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["operation"]?["status"] == "running")
      try await agent.see(document, .running)
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["operation"] == .null)

      #expect(await test.call(.delete, "/v1/volumes/data").code == "in_use")
      #expect(await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"]).code == "in_use")
      _ = await test.call(.post, "/v1/volumes/data/detach")
      let without = try #require(try await agent.poll().first)
      #expect(without.disks.count == 1)
      try await agent.see(without, .running, disks: document.disks.map(\.volume))
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["vm_id"] != .null, "the guest has it still")
      try await agent.see(without, .running)
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["state"] == "available")

      let deleted = await test.call(.delete, "/v1/volumes/data")
      #expect(deleted["operation"]?["kind"] == "volume.delete", "\(deleted)")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data").status == 404)
    }
  }

  @Test("a volume grows and never shrinks, and not beyond its node or its project's quota")
  func grow() async throws {
    try await withVM { test, agent async throws in
      try await make(test, agent)
      let small = await test.call(.post, "/v1/volumes/data/grow", ["size_gib": 2])
      #expect(small.code == "out_of_range", "\(small)")
      let large = await test.call(.post, "/v1/volumes/data/grow", ["size_gib": 4000])
      #expect(large.code == "no_capacity", "\(large)")
      #expect(large.description.contains("node-a"))
      _ = await test.call(.put, "/v1/projects/default/quotas", ["disk_gib": 10])
      let many = await test.call(.post, "/v1/volumes/data/grow", ["size_gib": 20])
      #expect(many.code == "quota_exceeded", "\(many)")
      _ = await test.call(.post, "/v1/volumes/data/grow", ["size_gib": 5])
      _ = try await agent.pollOnly()
      let wanted = agent.newVolumes()
      #expect(wanted.map(\.sizeBytes) == [5 << 30])
      try await agent.see(wanted)
      try await test.settle()
      let grown = await test.call(.get, "/v1/volumes/data")
      #expect(grown["size_gib"] == 5)
      #expect(grown["operation"] == .null, "\(grown)")
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["disk_gib"] == 6)
    }
  }

  @Test("the disk that a guest runs from is not detached, and a VM without one is not started")
  func bootDiskStays() async throws {
    try await withVM { test, agent async throws in
      let refused = await test.call(.post, "/v1/volumes/web-boot/detach")
      #expect(refused.code == "in_use", "\(refused)")
      _ = await test.call(.post, "/v1/vms/web/stop")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.post, "/v1/volumes/web-boot/detach").status == 202)
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/web")["disk_gib"] == .null)
      let start = await test.call(.post, "/v1/vms/web/start")
      #expect(start.code == "wrong_state", "\(start)")
      _ = await test.call(.post, "/v1/volumes/web-boot/attach", ["vm": "web", "boot_index": 1])
      try await agent.obey()
      #expect(await test.call(.post, "/v1/vms/web/start").status == 202)
    }
  }

  @Test("a name means the volume that lives while another one that had it is being deleted")
  func nameOfTheDeleted() async throws {
    try await withVM { test, agent async throws in
      try await make(test, agent)
      #expect(await test.call(.delete, "/v1/volumes/data").status == 202)
      #expect(await test.call(.get, "/v1/volumes/data")["state"] == "deleting")
      let second = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 3])
      #expect(second.status == 202, "\(second)")
      #expect(await test.call(.get, "/v1/volumes/data")["id"] == second["id"])
      #expect(await test.call(.post, "/v1/volumes/data/grow", ["size_gib": 4]).status == 202)
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["size_gib"] == 4)
    }
  }

  @Test("a volume on one node is not attached to a VM on another")
  func otherNode() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.patch, "/v1/nodes/node-a", ["schedulable": false])
      let other = try await FakeAgent.join(test, "node-b")
      try await make(test, other)
      let refused = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"])
      #expect(refused.code == "wrong_state", "\(refused)")
      #expect(refused.description.contains("node-a") && refused.description.contains("node-b"))
      let near = await test.call(.post, "/v1/volumes", ["name": "near", "size_gib": 1, "vm": "web"])
      #expect(near["node"] == "node-a", "\(near)")
    }
  }

  @Test(
    "what an agent cannot make fails at its deadline with the agent's reason, and a volume whose node is gone is deleted at once"
  )
  func failures() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 2])
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      try await agent.see(documents, .preparing, problem: .init(code: .nodeDiskFull, detail: "no room at all"))
      try await test.settle()
      let failed = await test.call(.get, "/v1/volumes/data")
      #expect(failed["state"] == "failed", "\(failed)")
      #expect(failed["reason"] == "no room at all")

      let held = await test.call(.delete, "/v1/nodes/node-a")
      #expect(held.code == "in_use", "\(held)")
      #expect(await test.call(.delete, "/v1/nodes/node-a?force=true").status == 204)
      try await test.settle()
      let lost = await test.call(.get, "/v1/volumes/data")
      #expect(lost["state"] == "failed")
      #expect(lost["node"] == .null)
      _ = await test.call(.delete, "/v1/volumes/data")
      _ = await test.call(.delete, "/v1/vms/web")
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes")["items"] == [])
    }
  }

  @Test("a project is emptied of its volumes too")
  func projectRemoval() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.post, "/v1/projects", ["name": "other"])
      _ = await test.call(.post, "/v1/volumes?project=other", ["name": "data", "size_gib": 2])
      try await agent.obey()
      try await test.settle()
      let refused = await test.call(.delete, "/v1/projects/other")
      #expect(refused.description.contains("1 volume"), "\(refused)")
      #expect(await test.call(.delete, "/v1/projects/other?cascade=true").status == 202)
      try await test.settle()
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/other").status == 404)
    }
  }

  @Test("bad input is refused with its place")
  func badInput() async throws {
    try await withVM { test, _ async throws in
      let cases: [(JSONValue, code: String, place: String)] = [
        (["name": "data"], "missing_field", "/size_gib"),
        (["name": "data", "image": "nothing"], "image_unknown", "/image"),
        (["name": "data", "size_gib": 1, "pool": "nothing"], "not_found", "/pool"),
        (["name": "data", "size_gib": 1, "vm": "nothing"], "not_found", "/vm"),
        (["name": "web-boot", "size_gib": 1], "name_taken", "/name"),
        (["name": "data", "size_gib": 0], "out_of_range", "/size_gib"),
      ]
      for (body, code, place) in cases {
        let refused = await test.call(.post, "/v1/volumes", body)
        #expect(refused.code == code, "\(refused)")
        #expect(refused.place == place, "\(refused)")
      }
      #expect(await test.call(.post, "/v1/volumes/web-boot/grow", ["size_gib": 1.5]).status == 400)
    }
  }
}
