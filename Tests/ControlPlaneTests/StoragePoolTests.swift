import AloftModel
import JSON
import Testing

@testable import ControlPlane

@Suite("Storage pools")
struct StoragePoolTests {
  private static func report(_ pools: NodeStoragePool...) -> NodeReport {
    var report = FakeAgent.report()
    report.pools = pools
    return report
  }

  private static func pool(_ name: String, total: Int = 100 << 30, free: Int) -> NodeStoragePool {
    NodeStoragePool(name: name, kind: .directory, totalBytes: total, freeBytes: free, usedBytes: 1 << 30)
  }

  @Test("a pool shows how full it is on each node, to those alone who may know of nodes")
  func places() async throws {
    try await TestPlane.with { test async throws in
      _ = await test.call(.post, "/v1/storage-pools", ["name": "fast", "kind": "dir", "overcommit": 2])
      let agent = try await FakeAgent.join(test)
      let answer = try await agent.send(
        report: Self.report(
          Self.pool("local", free: 90 << 30), Self.pool("fast", free: 50 << 30), Self.pool("else", free: 1)))
      #expect(answer.status == 200, "\(answer)")
      let fast = await test.call(.get, "/v1/storage-pools/fast")
      #expect(fast["places"]?[0]?["limit_gib"] == 200, "\(fast)")
      #expect(fast["places"]?[0]?["node"] == "node-a")
      let local = await test.call(.get, "/v1/storage-pools/local")
      #expect(local["places"]?[0]?["limit_gib"] == 100, "the node's own limit")
      #expect(await test.call(.get, "/v1/storage-pools")["items"]?.arrayValue?.count == 2)

      let tenant = TestPlane.bearer(try await test.makeToken(["default": .member]))
      let seen = await test.call(.get, "/v1/storage-pools/fast", headers: tenant)
      #expect(seen["kind"] == "dir", "\(seen)")
      #expect(seen["places"] == .null)
      let refused = await test.call(.post, "/v1/storage-pools", ["name": "x", "kind": "dir"], headers: tenant)
      #expect(refused.code == "forbidden", "\(refused)")
      #expect(try await test.findings() == [])
    }
  }

  @Test("operators are told when a place gets full, and when it is not any more")
  func filling() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      for free in [50, 15, 14, 2, 60] {
        _ = try await agent.send(report: Self.report(Self.pool("local", free: free << 30)))
      }
      let told = try await test.count(
        "SELECT count(*) FROM events WHERE kind = 'storage_pool.filling'")
      #expect(told == 3, "warning, critical, ok")
    }
  }

  @Test("pool local stays, a pool that holds volumes too, and limits are checked against each other")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      #expect(await test.call(.delete, "/v1/storage-pools/local").code == "wrong_state")
      #expect(await test.call(.patch, "/v1/storage-pools/local", ["overcommit": 2]).place == "/overcommit")
      let crossed = await test.call(
        .post, "/v1/storage-pools", ["name": "fast", "kind": "dir", "warning_percent": 90, "critical_percent": 50])
      #expect(crossed.place == "/warning_percent", "\(crossed)")
      #expect(await test.call(.post, "/v1/storage-pools", ["name": "fast", "kind": "zfs"]).code == "not_one_of")
      #expect(await test.call(.post, "/v1/storage-pools", ["name": "fast", "kind": "dir"]).status == 201)
      #expect(await test.call(.delete, "/v1/storage-pools/fast").status == 204)
    }
  }

  @Test("how full a place is does not depend on how large the numbers are")
  func fullness() {
    #expect(Fullness(total: 1 << 60, free: 0).percent == 100)
    #expect(Fullness(total: 0, free: 0).percent == 0)
    #expect(Fullness(total: 100, free: 200).percent == 0)
    #expect(Fullness(total: 100, free: 20).level(warning: 80, critical: 95) == .warning)
  }
}
