import AloftModel
import Foundation
import Postgres
import Testing

@testable import ControlPlane

@Suite("What happens to a node, and what is told of it")
struct NodeStateTests {
  private func lapse(_ test: TestPlane) async throws {
    _ = try await test.database.query("UPDATE node_leases SET expires_at = aloft_now() - interval '1 second'")
    try await test.plane.stepNodeWatch()
  }

  private func comeBack(_ test: TestPlane) async throws {
    _ = try await test.database.query("UPDATE node_leases SET expires_at = aloft_now() + interval '1 hour'")
    try await test.plane.stepNodeWatch()
  }

  /// What users were told about a VM's state, oldest first.
  private func changes(_ vm: VMID, _ test: TestPlane) async throws -> [String] {
    try await test.database.query(
      """
      SELECT format('%s to %s', data ->> 'from', data ->> 'to') FROM events
       WHERE resource_id = \(vm) AND kind = 'vm.state_changed' ORDER BY xid, seq
      """
    ).map { try $0.get(0) }
  }

  @Test("a node's ETag names what operators set: reports and silence leave it, a change moves it")
  func etag() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      let joined = try #require(await test.call(.get, "/v1/nodes/node-a").header("ETag"))
      _ = try await agent.send(report: FakeAgent.report(vcpus: 32))
      try await lapse(test)
      try await comeBack(test)
      #expect(await test.call(.get, "/v1/nodes/node-a").header("ETag") == joined)
      let changed = await test.call(
        .patch, "/v1/nodes/node-a", ["schedulable": false], headers: ["If-Match": joined])
      #expect(changed.status == 200, "\(changed)")
      #expect(changed.header("ETag") != joined)
    }
  }

  @Test("when a node falls silent and comes back, its VMs' changes of state are told")
  func silence() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let vm = try await test.createVM("web").vm
      try await agent.obey()
      try await test.settle()
      try await lapse(test)
      try await comeBack(test)
      #expect(try await changes(vm, test) == ["creating to running", "running to unknown", "unknown to running"])
      #expect(try await test.eventKinds(agent.id.uuid) == ["node.joined", "node.down", "node.up"])
    }
  }

  @Test("a node that somebody holds is left for the next look, and only VMs with open operations are looked at again")
  func held() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeImage()
      let held = try await FakeAgent.join(test, "node-a")
      _ = try await test.createVM("idle")
      try await held.obey()
      try await test.settle()
      let busy = try await test.createVM("busy").vm
      let free = try await FakeAgent.join(test, "node-b")
      _ = try await test.database.query("UPDATE node_leases SET expires_at = aloft_now() - interval '1 second'")
      let replica = try test.replica()
      try await test.holding("SELECT 1 FROM nodes WHERE id = \(held.id) FOR UPDATE") {
        try await replica.stepNodeWatch()
      }
      #expect(try await test.eventKinds(held.id.uuid) == ["node.joined"])
      #expect(try await test.eventKinds(free.id.uuid) == ["node.joined", "node.down"])
      _ = try await test.database.query("UPDATE work SET due_at = aloft_now() + interval '1 hour'")
      try await replica.stepNodeWatch()
      #expect(try await test.eventKinds(held.id.uuid) == ["node.joined", "node.down"])
      let woken = try await test.database.query("SELECT id FROM work WHERE due_at <= aloft_now()")
      #expect(try woken.map { try $0.get(0, as: VMID.self) } == [busy])
    }
  }

  @Test("when a node is removed by force, its VMs are told to have failed")
  func removal() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let vm = try await test.createVM("web").vm
      try await agent.obey()
      #expect(await test.call(.delete, "/v1/nodes/node-a?force=true").status == 204)
      #expect(try await changes(vm, test) == ["creating to running", "running to failed"])
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "failed")
      #expect(try await test.findings() == [])
    }
  }

  @Test("changes of pools and join tokens are told")
  func poolsAndTokens() async throws {
    try await TestPlane.with { test async throws in
      let pool = await test.call(.patch, "/v1/node-pools/default", ["strategy": "pack"])
      let token = await test.call(.post, "/v1/node-tokens", ["description": "rack 4"])
      let id = try #require(token["id"]?.stringValue.flatMap { NodeTokenID($0) })
      #expect(await test.call(.delete, "/v1/node-tokens/\(id)").status == 204)
      let poolID = try #require(pool["id"]?.stringValue.flatMap { NodePoolID($0) })
      #expect(try await test.eventKinds(poolID.uuid) == ["node_pool.updated"])
      #expect(try await test.eventKinds(id.uuid) == ["node_token.created", "node_token.deleted"])
    }
  }

  @Test("a join is audited with the address it came from")
  func audit() async throws {
    try await TestPlane.with { test async throws in
      _ = try await FakeAgent.join(test)
      let peers = try await test.database.query("SELECT peer FROM audit WHERE operation = 'joinNode'").map {
        try $0.get(0, as: String.self)
      }
      #expect(peers == ["127.0.0.1"])
    }
  }

  @Test("a removed node comes back as a new one with a new token; its old certificate is refused")
  func rejoin() async throws {
    try await TestPlane.with { test async throws in
      let old = try await FakeAgent.join(test)
      #expect(await test.call(.delete, "/v1/nodes/node-a").status == 204)
      let refused = try await old.send(report: FakeAgent.report())
      #expect(refused.status == 401)
      #expect(refused.code == "token_invalid")
      let new = try await FakeAgent.join(test)
      #expect(new.id != old.id)
      #expect(try await new.send(report: FakeAgent.report()).status == 200)
      #expect(try await old.send(report: FakeAgent.report()).status == 401)
      #expect(try await test.findings() == [])
    }
  }
}
