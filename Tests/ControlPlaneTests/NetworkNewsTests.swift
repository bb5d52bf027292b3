import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

/// What agents are told of changes of networks, and what is told of NICs that go.
@Suite("News of networks")
struct NetworkNewsTests {
  @Test(
    "of a network that changes the VMs on it are told, and nobody of a router's new subnet, which documents do not name"
  )
  func announcements() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test, report: FakeAgent.networked())
      try await test.makeNetwork("blue", "10.0.0.0/24")
      try await test.makeNetwork("red", "10.1.0.0/24")
      try await test.make("routers", ["name": "gate"])
      for name in ["blue", "red"] {
        let made = await test.call(.post, "/v1/vms", TestPlane.body(name, ("nics", [["network": .string(name)]])))
        #expect(made.status == 202, "\(made)")
      }
      try await test.settle()
      #expect(try await agent.poll().count == 2)
      #expect(await test.call(.put, "/v1/routers/gate/interfaces/blue-v4").status == 200)
      try await test.settle()
      #expect(try await agent.poll() == [])
      #expect(await test.call(.patch, "/v1/networks/blue", ["dns_domain": "new.example"]).status == 200)
      try await test.settle()
      #expect(try await agent.poll().map { $0.networks?.map(\.name) } == [["blue"]])
      #expect(await test.call(.delete, "/v1/routers/gate/interfaces/blue-v4").status == 204)
      try await test.settle()
      #expect(try await agent.poll() == [])
      #expect(try await test.count("SELECT count(*) FROM network_announcements") == 0)
    }
  }

  @Test("a change of a NIC that waited behind its deletion is too late, and is no news")
  func tooLate() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let machine = try await test.makeMachine("one")
      try await test.makeNetwork("blue", "10.0.0.0/24")
      let nic = try await test.plugNIC(machine, subnet: "blue-v4", address: "10.0.0.7")
      let waiting: SQL = """
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
      let change = try await test.holding("UPDATE nics SET deleted_at = aloft_now() WHERE id = \(nic) RETURNING id") {
        let change = Task { await test.call(.patch, "/v1/nics/\(nic)", ["labels": ["too": "late"]]) }
        try await eventually("it waits") { try await test.count(waiting) == 1 }
        return change
      }
      #expect(await change.value.code == "not_found")
      #expect(try await test.eventKinds(nic.uuid) == [])
    }
  }
}
