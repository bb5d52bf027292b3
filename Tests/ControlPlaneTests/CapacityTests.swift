import AloftModel
import ControlPlane
import Execution
import JSON
import TestSupport
import Testing

@Suite("Capacity")
struct CapacityTests {
  @Test("200 creates at once over two replicas against room for 50: 50 are accepted, 150 hear that there is no room")
  func storm() async throws {
    try await TestPlane.with(poolSize: 12) { test async throws in
      try await test.makeImage()
      for name in ["node-a", "node-b"] {
        _ = try await FakeAgent.join(test, name, report: FakeAgent.report(vcpus: 64, memoryMiB: 25 * 128))
      }
      let other = try test.replica()
      let answers = await withTaskGroup(of: Answer.self) { group in
        for number in 0..<200 {
          group.addTask {
            await test.call(
              .post, "/v1/vms", TestPlane.body("vm-\(number)"), on: number.isMultiple(of: 2) ? test.plane : other)
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.count { $0.status == 202 } == 50)
      #expect(answers.count { $0.code == "no_capacity" } == 150)
      let unexpected = answers.first { $0.status != 202 && $0.code != "no_capacity" }
      #expect(unexpected == nil)
      #expect(try await test.count("SELECT count(*) FROM claims") == 50)
      #expect(try await test.count("SELECT sum(memory_mib_claimed)::bigint FROM nodes") == 50 * 128)
      #expect(try await test.findings() == [])
    }
  }

  @Test("room that was given back is used again, on every replica")
  func reuse() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test, report: FakeAgent.report(memoryMiB: 128))
      let other = try test.replica()
      _ = try await test.createVM("a")
      let refused = await test.call(.post, "/v1/vms", TestPlane.body("b"), on: other)
      #expect(refused.code == "no_capacity")
      _ = await test.call(.delete, "/v1/vms/a")
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("b")).code == "no_capacity", "not before it is gone")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("b"), on: other).status == 202)
      #expect(try await test.findings() == [])
    }
  }

  @Test("parallel creates and deletes leave the sums right")
  func churn() async throws {
    try await TestPlane.with(background: true, poolSize: 8) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test, report: FakeAgent.report(vcpus: 64, memoryMiB: 20 * 128))
      let over = Lock(false)
      let polling = Task {
        while !over.withLock({ $0 }) { try await agent.obey(wait: 1) }
      }
      await withTaskGroup(of: Void.self) { group in
        for number in 0..<60 {
          group.addTask {
            let answer = await test.call(.post, "/v1/vms", TestPlane.body("vm-\(number)"))
            #expect(answer.status == 202 || answer.code == "no_capacity", "\(answer)")
            guard answer.status == 202, !number.isMultiple(of: 3) else { return }
            let deleted = await test.call(.delete, "/v1/vms/vm-\(number)")
            #expect(deleted.status == 202, "\(deleted)")
          }
        }
      }
      try await eventually("all operations end") {
        try await test.count("SELECT count(*) FROM operations WHERE finished_at IS NULL") == 0
      }
      over.withLock { $0 = true }
      try await polling.value
      #expect(try await test.findings() == [])
      let running = try await test.count("SELECT count(*) FROM vms")
      #expect(try await test.count("SELECT memory_mib_claimed FROM nodes") == running * 128)
    }
  }
}
