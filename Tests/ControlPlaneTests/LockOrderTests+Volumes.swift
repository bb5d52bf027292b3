import AloftModel
import Execution
import JSON
import TestSupport
import Testing

@testable import ControlPlane

extension LockOrderTests {
  /// One of many changes, of one of a few VMs, volumes and snapshots. What was deleted is made again by some of them.
  private static func change(
    _ step: Int, by worker: Int, _ test: TestPlane, pool: String, on replica: ControlPlane?
  ) async -> Answer {
    let place = "?project=p"
    let (vm, volume) = ("vm-\((step + worker) % 3)", "d-\((step * 3 + worker) % 5)")
    let snapshot = "s-\((step * 5 + worker) % 4)"
    func post(_ path: String, _ body: JSONValue? = nil) async -> Answer {
      await test.call(.post, path + place, body, on: replica)
    }
    func delete(_ path: String) async -> Answer { await test.call(.delete, path + place, on: replica) }
    switch (step * 7 + worker * 4) % 19 {
    case 0:
      return await post(
        "/v1/volumes", ["name": .string(volume), "size_gib": 1, "pool": .string(pool), "vm": .string(vm)])
    case 1, 2: return await post("/v1/volumes/\(volume)/grow", ["size_gib": .integer(Int64(step * 6 + worker + 2))])
    case 3, 4: return await post("/v1/volumes/\(volume)/attach", ["vm": .string(vm)])
    case 5: return await post("/v1/volumes/\(volume)/detach")
    case 6, 7: return await post("/v1/snapshots", ["name": .string(snapshot), "vm": .string(vm)])
    case 8: return await post("/v1/snapshots", ["name": .string(snapshot), "volume": .string(volume)])
    case 9: return await post("/v1/snapshots/\(snapshot)/revert")
    case 10: return await delete("/v1/snapshots/\(snapshot)")
    case 11: return await post("/v1/vms/\(vm)/\(step % 2 == 0 ? "stop" : "start")")
    case 12 where step % 3 == 0: return await delete("/v1/vms/\(vm)")
    case 13 where step % 3 == 0: return await delete("/v1/volumes/\(volume)")
    case 14, 15: return await post("/v1/volumes", ["name": .string("c-\(worker)-\(step)"), "volume": .string(volume)])
    case 16:
      let limits: JSONValue = ["io_limits": ["total_iops": ["per_second": .integer(Int64(step * 6 + worker + 2))]]]
      return await test.call(.patch, "/v1/volumes/\(volume)" + place, limits, on: replica)
    case 17:
      let other = "d-\((step * 3 + worker + 2) % 5)"
      let volumes: JSONValue = [["volume": .string(volume)], ["volume": .string(other)]]
      return await post("/v1/vms", TestPlane.body("w-\(worker)-\(step)", ("volumes", volumes)))
    default: return await post("/v1/vms", TestPlane.body(vm, ("disk_pool", .string(pool))))
    }
  }

  /// A node that reaches a pool that others reach too, and tells how full it is ever anew.
  private static func joinSharing(_ test: TestPlane, _ name: String, _ report: NodeReport) async throws -> FakeAgent {
    let agent = try await FakeAgent.join(test, name, report: report)
    _ = try await agent.send(report: sharing(report, used: 1))
    return agent
  }

  private static func sharing(_ report: NodeReport, used: Int) -> NodeReport {
    var report = report
    let total = 1 << 50
    report.pools = [
      NodeStoragePool(name: "shared", kind: .rbd, totalBytes: total, freeBytes: total - used, usedBytes: used)
    ]
    return report
  }

  @Test(
    "VMs, volumes and snapshots that change and go, are reported of and are emptied out of a project, never lock, nor where nodes share their pool",
    arguments: ["local", "shared"])
  func volumes(pool: String) async throws {
    try await TestPlane.with(poolSize: 16) { test async throws in
      _ = await test.call(.post, "/v1/projects", ["name": "p"])
      _ = await test.call(.post, "/v1/images?project=p", ["name": "tiny"])
      let uploaded = await test.send(
        .put, "/v1/images/tiny/content?project=p", bytes: [UInt8](repeating: 7, count: 1024),
        headers: ["Authorization": "Bearer \(test.token)", "Content-Type": "application/octet-stream"])
      try #require(uploaded.status == 200, "\(uploaded)")
      let report = FakeAgent.report(vcpus: 256, memoryMiB: 1 << 20, diskGiB: 1 << 20)
      if pool == "shared" { _ = await test.call(.post, "/v1/storage-pools", ["name": "shared", "kind": "rbd"]) }
      let names = pool == "shared" ? ["node-a", "node-b"] : ["node-a"]
      var agents: [FakeAgent] = []
      for name in names { agents.append(try await Self.joinSharing(test, name, report)) }
      let second = try test.replica()
      let running = [test.plane, second].map { plane in Task { await plane.run() } }
      let isOver = Lock(false)
      let obeying = agents.map { agent in
        Task {
          while !isOver.withLock({ $0 }) {
            _ = try? await agent.obey(wait: 1)
            _ = try? await agent.send(report: Self.sharing(report, used: agent.nextSequence()))
          }
        }
      }
      for number in 0..<3 {
        _ = await test.call(
          .post, "/v1/vms?project=p", TestPlane.body("vm-\(number)", ("disk_pool", .string(pool))))
      }
      for number in 0..<5 {
        let body: JSONValue = ["name": .string("d-\(number)"), "size_gib": 1, "pool": .string(pool)]
        #expect(await test.call(.post, "/v1/volumes?project=p", body).status == 202)
      }
      let answers = await withTaskGroup(of: [Answer].self) { group in
        for worker in 0..<6 {
          group.addTask {
            var answers: [Answer] = []
            for step in 0..<60 {
              answers.append(await Self.change(step, by: worker, test, pool: pool, on: worker % 2 == 0 ? second : nil))
            }
            return answers
          }
        }
        return await group.reduce(into: []) { $0 += $1 }
      }
      #expect(answers.allSatisfy { $0.status < 500 }, "\(answers.filter { $0.status >= 500 })")
      #expect(answers.count { $0.status == 202 } > 40, "\(answers.map(\.status))")
      #expect(await test.call(.delete, "/v1/projects/p?cascade=true").status == 202)
      try await eventually("the project is empty") { await test.call(.get, "/v1/projects/p").status == 404 }
      isOver.withLock { $0 = true }
      for task in obeying { await task.value }
      for task in running { task.cancel() }
      for task in running { await task.value }
      let findings = try await test.findings()
      #expect(findings == [], "\(findings)")
      #expect(try await test.count("SELECT count(*) FROM volumes") == 0)
      #expect(try await test.count("SELECT count(*) FROM snapshots") == 0)
      try await expectNoDeadlock(test)
    }
  }
}
