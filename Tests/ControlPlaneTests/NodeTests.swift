import AloftModel
import ControlPlane
import Crypto
import JSON
import TestSupport
import Testing

@Suite("Nodes")
struct NodeTests {
  @Test("a node joins once with a token; the same key may ask again, another is refused")
  func join() async throws {
    try await TestPlane.with { test async throws in
      let token = await test.call(.post, "/v1/node-tokens", ["labels": ["rack": "4"]])
      let secret = try #require(token["secret"]?.stringValue)
      let key = P256.Signing.PrivateKey()
      let first = try await FakeAgent.join(test, "node-a", token: secret, key: key)
      #expect(first.status == 200, "\(first)")
      let again = try await FakeAgent.join(test, "node-a", token: secret, key: key)
      #expect(again["node_id"] == first["node_id"])
      let thief = try await FakeAgent.join(test, "node-b", token: secret, key: P256.Signing.PrivateKey())
      #expect(thief.code == "join_token_invalid")
      let node = await test.call(.get, "/v1/nodes/node-a")
      #expect(node["state"] == "ready", "\(node)")
      #expect(node["labels"] == ["rack": "4"])
      #expect(node["capacity"] == ["vcpus": 16, "memory_mib": 16384, "disk_gib": 100])
      let id = try #require(token["id"]?.stringValue)
      #expect(await test.call(.get, "/v1/node-tokens/\(id)")["node_id"] == first["node_id"])
      #expect(try await test.findings() == [])
    }
  }

  @Test("a node comes back as itself with another token when it has its key, and as a new one after it was removed")
  func rejoin() async throws {
    try await TestPlane.with { test async throws in
      func secret() async throws -> String {
        try #require(await test.call(.post, "/v1/node-tokens", [:])["secret"]?.stringValue)
      }
      let key = P256.Signing.PrivateKey()
      let first = try await FakeAgent.join(test, "node-a", token: secret(), key: key)
      let second = try await secret()
      let again = try await FakeAgent.join(test, "node-a", token: second, key: key)
      #expect(again.status == 200 && again["node_id"] == first["node_id"], "\(again)")
      // The second token is used up by it.
      #expect(try await FakeAgent.join(test, "node-b", token: second, key: .init()).code == "join_token_invalid")
      #expect(try await FakeAgent.join(test, "node-a", token: secret(), key: .init()).code == "name_taken")
      #expect(await test.call(.delete, "/v1/nodes/node-a").status == 204)
      #expect(try await FakeAgent.join(test, "node-a", token: second, key: key).code == "join_token_invalid")
      let third = try await FakeAgent.join(test, "node-a", token: secret(), key: key)
      #expect(third.status == 200 && third["node_id"] != first["node_id"], "\(third)")
      #expect(try await test.findings() == [])
    }
  }

  @Test("a bad name, a taken name and an expired token are refused")
  func refusedJoins() async throws {
    try await TestPlane.with { test async throws in
      _ = try await FakeAgent.join(test, "node-a")
      func secret() async throws -> String {
        try #require(await test.call(.post, "/v1/node-tokens", [:])["secret"]?.stringValue)
      }
      #expect(try await FakeAgent.join(test, "Node A", token: secret(), key: .init()).code == "bad_format")
      #expect(try await FakeAgent.join(test, "node-a", token: secret(), key: .init()).code == "name_taken")
      let late = try await secret()
      try await test.database.execute("UPDATE node_tokens SET expires_at = aloft_now() - interval '1 second'")
      #expect(try await FakeAgent.join(test, "node-b", token: late, key: .init()).code == "join_token_invalid")
      #expect(await test.send(.post, "/agent/v1/join", bytes: Array("{}".utf8)).code == "bad_format")
      #expect(await test.send(.post, "/agent/v1/join", bytes: Array("nonsense".utf8)).code == "not_json")
    }
  }

  @Test("a report changes what the node has, a renewal gives a new certificate, and limits follow the pool")
  func report() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      let answer = try await agent.send(report: FakeAgent.report(vcpus: 8, memoryMiB: 4096, diskGiB: 50))
      #expect(answer["lease_seconds"] == 3600, "\(answer)")
      let node = await test.call(.get, "/v1/nodes/node-a")
      #expect(node["capacity"] == ["vcpus": 8, "memory_mib": 4096, "disk_gib": 50])
      let renewed = await agent.send(
        .post, "renew",
        bytes: try JSONCoder.encode(RenewRequest(certificateRequest: try FakeAgent.certificateRequest())))
      #expect(renewed["node_id"]?.stringValue == agent.id.description, "\(renewed)")
      let pool = await test.call(.patch, "/v1/node-pools/default", ["memory_overcommit": 2, "strategy": "pack"])
      #expect(pool.status == 200, "\(pool)")
      #expect(try await test.count("SELECT memory_mib_limit FROM nodes") == 8192)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a cordoned node takes no VM until it is uncordoned")
  func cordon() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      let node = await test.call(.patch, "/v1/nodes/node-a", ["schedulable": false])
      #expect(node["state"] == "cordoned", "\(node)")
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("web")).code == "no_capacity")
      _ = await test.call(.patch, "/v1/nodes/node-a", ["schedulable": true])
      _ = try await test.createVM("web")
    }
  }

  @Test("a VM goes where its node selector says")
  func selector() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test, "node-a", labels: ["disk": "hdd"])
      _ = try await FakeAgent.join(test, "node-b", labels: ["disk": "ssd"])
      for number in 0..<4 {
        let answer = await test.call(
          .post, "/v1/vms", TestPlane.body("vm-\(number)", ("node_selector", ["disk": "ssd"])))
        #expect(answer["node"] == "node-b", "\(answer)")
      }
      let nowhere = await test.call(.post, "/v1/vms", TestPlane.body("web", ("node_selector", ["disk": "tape"])))
      #expect(nowhere.code == "no_capacity")
    }
  }

  @Test("a silent node goes down and its VMs become unknown; when it reports again, both come back")
  func lease() async throws {
    // Long enough for what is done before the silence, on a machine that is busy.
    try await TestPlane.with(leaseSeconds: 8) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.plane.stepLeases()
      try await test.settle()
      try await eventually("the node is down", within: .seconds(60)) {
        try await test.plane.stepNodeWatch()
        let kinds = try await test.eventKinds(agent.id.uuid)
        return kinds.contains("node.down")
      }
      #expect(await test.call(.get, "/v1/nodes/node-a")["state"] == "down")
      let silent = await test.call(.get, "/v1/vms/web")
      #expect(silent["state"] == "unknown", "\(silent)")
      #expect(silent["reason"]?.stringValue?.contains("node-a") == true)
      #expect(await test.call(.get, "/v1/vms/web/serial-log").code == "node_unreachable")
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("db")).code == "no_capacity")

      try await eventually("the node is back") {
        _ = try await agent.send(report: FakeAgent.report())
        try await test.plane.stepLeases()
        try await test.plane.stepNodeWatch()
        let node = await test.call(.get, "/v1/nodes/node-a")
        let vm = await test.call(.get, "/v1/vms/web")
        return node["state"] == "ready" && vm["state"] == "running"
      }
      let kinds = try await test.eventKinds(agent.id.uuid)
      #expect(kinds.prefix(3) == ["node.joined", "node.down", "node.up"], "\(kinds)")
      #expect(try await test.findings() == [])
    }
  }

  @Test("a lease that the database forgot is given anew, and nobody is declared dead for it")
  func forgotten() async throws {
    try await TestPlane.with { test async throws in
      _ = try await FakeAgent.join(test)
      try await test.database.execute("TRUNCATE node_leases")
      try await test.plane.stepNodeWatch()
      #expect(await test.call(.get, "/v1/nodes/node-a")["state"] == "ready")
      #expect(try await test.count("SELECT count(*) FROM node_leases") == 1)
    }
  }

  @Test(
    "after no replica was there for a while, leases are whole again and nobody is judged by what could not be renewed")
  func planeWasAway() async throws {
    try await TestPlane.with { test async throws in
      _ = try await FakeAgent.join(test, "node-a")
      _ = try await FakeAgent.join(test, "node-b")
      try await test.database.execute(
        "UPDATE nodes SET down_since = aloft_now() - interval '2 hours' WHERE name = 'node-b'")
      try await test.database.execute("UPDATE node_leases SET expires_at = aloft_now() - interval '1 hour'")
      try await test.database.execute("UPDATE node_watch SET looked_at = aloft_now() - interval '1 hour'")
      try await test.plane.stepNodeWatch()
      try await test.replica().stepNodeWatch()
      #expect(await test.call(.get, "/v1/nodes/node-a")["state"] == "ready")
      #expect(await test.call(.get, "/v1/nodes/node-b")["state"] == "down", "it was silent before")
      // From here on it is the node's own silence.
      try await test.database.execute("UPDATE node_leases SET expires_at = aloft_now() - interval '1 second'")
      try await test.plane.stepNodeWatch()
      #expect(await test.call(.get, "/v1/nodes/node-a")["state"] == "down")
    }
  }
}
