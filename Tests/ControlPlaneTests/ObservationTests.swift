import AloftModel
import ControlPlane
import JSON
import Postgres
import Testing

@Suite("Observations")
struct ObservationTests {
  private func withVM(_ body: (TestPlane, FakeAgent, Assignment) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      let document = try #require(try await agent.poll().first)
      try await body(test, agent, document)
    }
  }

  @Test("a guest that turns itself off is not started again")
  func guestPowerOff() async throws {
    try await withVM { test, agent, document async throws in
      try await agent.see(document, .running)
      try await test.settle()
      try await agent.see(document, .stopped, guestStopped: true)
      try await test.settle()
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["desired_power"] == "stopped", "\(vm)")
      let followed = try #require(try await agent.poll().first)
      #expect(followed.power == .stopped)
      #expect(followed.generation > document.generation)
      try await agent.see(followed, .stopped)
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "stopped")
      #expect(try await test.findings() == [])
    }
  }

  @Test("a late copy of an older report changes nothing")
  func sequence() async throws {
    try await withVM { test, agent, document async throws in
      let late = Observation(
        vm: document.vm, incarnation: 1, generation: 1, sequence: agent.nextSequence(), power: .absent)
      try await agent.see(document, .running)
      try await agent.observe(late)
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "running")
    }
  }

  @Test("a whole list of documents tells an agent that starts anew how far the reports were counted")
  func sequenceTold() async throws {
    try await withVM { test, agent, document async throws in
      func told(after revision: Int) async throws -> Int? {
        let answer = await agent.send(.get, "assignments?after=\(revision)&wait=0")
        return try JSONCoder.decode(Assignments.self, from: answer.bytes).sequence
      }
      #expect(try await told(after: 0) == 1, "its boot disk was reported")
      try await agent.observe(
        Observation(vm: document.vm, incarnation: 1, generation: 1, sequence: 1 << 50, power: .running))
      #expect(try await told(after: 0) == 1 << 50)
      #expect(try await told(after: 1) == nil)
    }
  }

  @Test("a report of another incarnation changes nothing")
  func incarnation() async throws {
    try await withVM { test, agent, document async throws in
      for incarnation in [0, 2] {
        try await agent.observe(
          Observation(
            vm: document.vm, incarnation: incarnation, generation: 9, sequence: agent.nextSequence(), power: .running))
      }
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "creating")
      #expect(try await test.count("SELECT count(*) FROM vm_observations") == 0)
    }
  }

  @Test("what another node says about a VM is not believed: it is told that it does not know it")
  func foreign() async throws {
    try await withVM { test, _, document async throws in
      let other = try await FakeAgent.join(test, "node-b")
      #expect(try await other.poll() == [])
      let answer = try await other.see(document, .running)
      #expect(answer.unknownVms == [document.vm])
      #expect(try await test.count("SELECT count(*) FROM vm_observations") == 0)
      let id = try #require(await test.call(.get, "/v1/images/tiny")["id"]?.stringValue)
      let image = await other.send(.get, "images/\(id)/content")
      #expect(image.status == 404)
    }
  }

  @Test("a problem shows as the VM's reason, and ends the operation only at its deadline, with its code")
  func problem() async throws {
    try await withVM { test, agent, document async throws in
      try await agent.see(document, .absent, problem: .init(code: .nodeDiskFull, detail: "no room on /var"))
      try await test.settle()
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["state"] == "failed")
      #expect(vm["reason"] == "no room on /var")
      #expect(vm["operation"]?["status"] == "running")
      try await test.database.execute("UPDATE operations SET deadline = aloft_now() - interval '1 second'")
      try await test.database.execute("UPDATE work SET due_at = aloft_now()")
      try await test.settle()
      let list = await test.call(.get, "/v1/operations?resource=\(document.vm)")
      #expect(list["items"]?[0]?["status"] == "failed", "\(list)")
      #expect(list["items"]?[0]?["error"]?["code"] == "node_disk_full")
      #expect(await test.call(.get, "/v1/operations?status=queued")["items"] == [])
    }
  }

  @Test("a node that was removed loses its VMs, and its agent is told so")
  func removedNode() async throws {
    try await withVM { test, agent, document async throws in
      let refused = await test.call(.delete, "/v1/nodes/node-a")
      #expect(refused.code == "in_use")
      #expect(await test.call(.delete, "/v1/nodes/node-a?force=true").status == 204)
      try await test.settle()
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["state"] == "failed", "\(vm)")
      #expect(vm["node"] == .null)
      #expect(await test.call(.post, "/v1/vms/web/start").code == "wrong_state")
      #expect(await agent.send(.get, "assignments?after=0").code == "token_invalid")
      let list = await test.call(.get, "/v1/operations?resource=\(document.vm)")
      #expect(list["items"]?[0]?["error"]?["code"] == "node_removed")
      _ = try Accepted(await test.call(.delete, "/v1/vms/web"))
      try await test.settle()
      #expect(try await test.count("SELECT count(*) FROM vms") == 0)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a poll that waits answers as soon as there is a document")
  func longPoll() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      async let documents = agent.poll(wait: 60)
      let accepted = try await test.createVM("web")
      #expect(try await documents.map(\.vm) == [accepted.vm])
    }
  }

  @Test("a report about many VMs is taken over whole; those of other nodes are neither written nor waited for")
  func manyVMs() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeImage()
      let other = try await FakeAgent.join(test, "node-b")
      let foreign = try await test.createVM("foreign").vm
      _ = await test.call(.patch, "/v1/nodes/\(other.name)", ["schedulable": false])
      let agent = try await FakeAgent.join(test, "node-a", report: FakeAgent.report(vcpus: 64))
      for number in 0..<60 { _ = try await test.createVM("vm-\(number)") }
      let documents = try await agent.poll()
      #expect(documents.count == 60)
      func seen(_ vm: VMID, _ power: Observation.Power, sequence: Int? = nil) -> Observation {
        Observation(
          vm: vm, incarnation: 1, generation: 1, sequence: sequence ?? agent.nextSequence(), power: power)
      }
      var observations = documents.map { seen($0.vm, .running) }
      observations.insert(seen(foreign, .absent), at: 7)
      // An older one about a VM, behind the newer.
      observations.append(seen(documents[0].vm, .crashed, sequence: 0))
      let bytes = try JSONCoder.encode(ObservationReport(observations: observations))
      let answer = try await test.holding("SELECT 1 FROM vms WHERE id = \(foreign) FOR UPDATE") {
        await agent.send(.post, "observations", bytes: bytes)
      }
      #expect(answer.status == 200, "\(answer)")
      #expect(answer["unknown_vms"] == [.string(foreign.description)])
      #expect(try await test.count("SELECT count(*) FROM vm_observations WHERE power = 'running'") == 60)
      #expect(try await test.count("SELECT count(*) FROM vm_observations") == 60)
      try await test.settle()
      #expect(try await test.count("SELECT count(*) FROM operations WHERE status = 'succeeded'") == 60)
    }
  }
}
