import AloftModel
import ControlPlane
import HTTPTypes
import JSON
import Postgres
import Testing

@Suite("Life of a VM")
struct VMLifecycleTests {
  /// A plane with one node and one ready image.
  private func withNode(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      try await body(test, try await FakeAgent.join(test))
    }
  }

  @Test("a create is accepted with its place, reaches the agent, and ends when the VM runs")
  func create() async throws {
    try await withNode { test, agent async throws in
      let answer = await test.call(
        .post, "/v1/vms",
        TestPlane.body(
          "web", ("labels", ["tier": "front"]), ("ssh_keys", ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me"]),
          ("user_data", "#cloud-config\n")))
      let accepted = try Accepted(answer)
      #expect(answer["state"] == "creating")
      #expect(answer["node"] == "node-a")
      #expect(answer["operation"]?["kind"] == "vm.create")
      #expect(answer["operation"]?["status"] == "queued")
      #expect(answer.header("Location") == "/v1/vms/\(accepted.vm)")
      let node = await test.call(.get, "/v1/nodes/node-a")
      #expect(node["claimed"] == ["vcpus": 1, "memory_mib": 128, "disk_gib": 1])

      let documents = try await agent.pollOnly()
      let volume = try #require(agent.newVolumes().first)
      let document = try #require(documents.first)
      #expect(documents.count == 1)
      #expect(document.vm == accepted.vm)
      #expect(document.power == .running)
      #expect(!document.deleted)
      #expect(document.hostname == "web")
      #expect(document.sshKeys == ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me"])
      #expect(document.userData == "#cloud-config\n")
      #expect(document.disks == [Assignment.Disk(volume: volume.volume, bootIndex: 1)])
      #expect(volume.source?.image?.sizeBytes == 1024)
      #expect(volume.sizeBytes == 1 << 30)
      #expect(volume.vm == accepted.vm)
      #expect(volume.pool == "local")
      #expect(try await agent.poll() == [], "a document comes once")

      try await agent.see(document, .absent, activity: "downloading image")
      try await test.settle()
      let waiting = await test.operation(accepted.operation)
      #expect(waiting["status"] == "running")
      #expect(waiting["waiting_for"] == "downloading image")

      try await agent.see(document, .running)
      try await test.settle()
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["state"] == "running", "\(vm)")
      #expect(vm["operation"] == .null)
      #expect(vm["accelerator"] == "kvm")
      let ended = await test.operation(accepted.operation)
      #expect(ended["status"] == "succeeded", "\(ended)")
      #expect(try await test.eventKinds(accepted.vm.uuid) == ["vm.created", "vm.state_changed"])
      #expect(try await test.eventKinds(accepted.operation.uuid) == ["operation.accepted", "operation.ended"])
      #expect(try await test.findings() == [])
      #expect(try await test.count("SELECT count(*) FROM work") == 0)
    }
  }

  @Test("a VM that is created stopped rests stopped")
  func createStopped() async throws {
    try await withNode { test, agent async throws in
      let accepted = try Accepted(await test.call(.post, "/v1/vms", TestPlane.body("web", ("power", "stopped"))))
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "stopped")
      #expect(await test.operation(accepted.operation)["status"] == "succeeded")
    }
  }

  @Test("stop, start and reboot go out as documents and end with what is observed")
  func verbs() async throws {
    try await withNode { test, agent async throws in
      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.settle()

      let stop = try Accepted(await test.call(.post, "/v1/vms/web/stop", ["grace_seconds": 5]))
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "stopping")
      let stopping = try #require(try await agent.poll().first)
      #expect(stopping.power == .stopped)
      #expect(stopping.stopGraceSeconds == 5)
      try await agent.see(stopping, .stopped)
      try await test.settle()
      #expect(await test.operation(stop.operation)["status"] == "succeeded")
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "stopped")

      let refused = await test.call(.post, "/v1/vms/web/reboot")
      #expect(refused.status == 409)
      #expect(refused.code == "wrong_state")

      let start = try Accepted(await test.call(.post, "/v1/vms/web/start"))
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "starting")
      try await agent.obey()
      try await test.settle()
      #expect(await test.operation(start.operation)["status"] == "succeeded")

      let reboot = try Accepted(await test.call(.post, "/v1/vms/web/reboot", ["force": true]))
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "rebooting")
      let rebooting = try #require(try await agent.poll().first)
      #expect(rebooting.requests.map(\.kind) == [.reset])
      try await agent.see(rebooting, .running)
      try await test.settle()
      #expect(await test.operation(reboot.operation)["status"] == "running", "not before the agent says so")
      try await agent.see(rebooting, .running, completed: rebooting.requests.map(\.id))
      try await test.settle()
      #expect(await test.operation(reboot.operation)["status"] == "succeeded")
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "running")
      #expect(try await test.findings() == [])
    }
  }

  @Test("a delete overtakes a start in flight, and a purge removes the rows and gives the room back")
  func deleteWins() async throws {
    try await withNode { test, agent async throws in
      _ = try Accepted(await test.call(.post, "/v1/vms", TestPlane.body("web", ("power", "stopped"))))
      try await agent.obey()
      try await test.settle()
      let start = try Accepted(await test.call(.post, "/v1/vms/web/start"))
      let delete = try Accepted(await test.call(.delete, "/v1/vms/\(start.vm)"))
      try await test.settle()
      let overtaken = await test.operation(start.operation)
      #expect(overtaken["status"] == "failed")
      #expect(overtaken["error"]?["code"] == "superseded")
      let deleting = await test.call(.get, "/v1/vms/\(start.vm)")
      #expect(deleting["state"] == "deleting")
      for verb in ["start", "stop", "reboot"] {
        #expect(await test.call(.post, "/v1/vms/\(start.vm)/\(verb)").code == "wrong_state")
      }
      let again = await test.call(.delete, "/v1/vms/\(start.vm)")
      #expect(again.status == 202, "asking again is harmless")

      let tombstone = try #require(try await agent.poll().first)
      #expect(tombstone.deleted)
      try await agent.see(tombstone, .running, generation: tombstone.generation - 1)
      try await test.settle()
      #expect(await test.operation(delete.operation)["status"] == "running")
      try await agent.see(tombstone, .absent)
      try await test.settle()
      #expect(await test.operation(delete.operation)["status"] == "succeeded")
      #expect(await test.call(.get, "/v1/vms/\(start.vm)").code == "not_found")
      #expect(await test.call(.get, "/v1/nodes/node-a")["claimed"]?["memory_mib"] == 0)
      #expect(try await test.eventKinds(start.vm.uuid).last == "vm.deleted")
      for left: SQL in [
        "SELECT count(*) FROM vms", "SELECT count(*) FROM claims", "SELECT count(*) FROM vm_observations",
        "SELECT count(*) FROM work",
      ] {
        #expect(try await test.count(left) == 0)
      }
      #expect(try await test.findings() == [])
    }
  }

  @Test("the name of a VM that is being deleted is free already")
  func nameReuse() async throws {
    try await withNode { test, agent async throws in
      let first = try await test.createVM("web")
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("web")).code == "name_taken")
      _ = try Accepted(await test.call(.delete, "/v1/vms/web"))
      let second = try await test.createVM("web")
      #expect(first.vm != second.vm)
      #expect(await test.call(.get, "/v1/vms/web")["id"]?.stringValue == second.vm.description)
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "running")
      #expect(await test.call(.get, "/v1/vms/\(first.vm)").code == "not_found")
    }
  }

  @Test("a VM is renamed and relabelled without troubling its agent; a stale If-Match is refused")
  func update() async throws {
    try await withNode { test, agent async throws in
      let accepted = try await test.createVM("web")
      _ = try await test.createVM("db")
      try await agent.obey()
      let changed = await test.call(
        .patch, "/v1/vms/web", ["name": "www", "labels": ["a": "1"]], headers: ["If-Match": accepted.etag])
      #expect(changed.status == 200, "\(changed)")
      #expect(changed["name"] == "www")
      #expect(changed["labels"] == ["a": "1"])
      for (method, path) in [("PATCH", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/start"), ("POST", "/reboot")]
      {
        let answer = await test.call(
          .init(method) ?? .get, "/v1/vms/www\(path)", method == "PATCH" ? ["labels": [:]] : nil,
          headers: ["If-Match": accepted.etag])
        #expect(answer.status == 412, "\(method) \(path): \(answer)")
        #expect(answer.code == "precondition_failed")
      }
      #expect(await test.call(.patch, "/v1/vms/www", ["name": "db"]).code == "name_taken")
      #expect(try await agent.poll() == [])
    }
  }
}
