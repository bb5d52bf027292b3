import AloftModel
import ControlPlane
import Execution
import JSON
import TestSupport
import Testing

@Suite("Clients that leave")
struct CancellationTests {
  @Test("calls that are broken off at any moment leave no open transaction and nothing half done")
  func brokenOff() async throws {
    try await TestPlane.with(background: true, poolSize: 4) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test, report: FakeAgent.report(vcpus: 64, memoryMiB: 40 * 128))
      for round in 0..<40 {
        let created = Lock(false)
        let calls = [
          Task {
            _ = await test.call(.post, "/v1/vms", TestPlane.body("vm-\(round)"), headers: ["Prefer": "wait=60"])
            created.withLock { $0 = true }
          },
          Task { _ = await agent.send(.get, "assignments?after=999999&wait=60") },
          Task { _ = await agent.send(.get, "assignments?after=0&wait=60") },
          Task { _ = await test.call(.delete, "/v1/vms/vm-\(round / 2)") },
        ]
        try await reach(round, vm: "vm-\(round)", in: test, created: created)
        for call in calls { call.cancel() }
        for call in calls { await call.value }
      }
      try await eventually("no transaction is open") {
        try await test.count(
          """
          SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND state LIKE 'idle in transaction%'
          """) == 0
      }
      #expect(try await test.findings() == [])
      #expect(await test.call(.get, "/v1/vms").status == 200)
    }
  }

  /// Brings the calls to the moment at which this round breaks them off: before they have begun, a few steps on, when the
  /// machine is in the database and its operation is waited for, or when it was refused.
  private func reach(_ round: Int, vm: String, in test: TestPlane, created: Lock<Bool>) async throws {
    switch round % 4 {
    case 0: return
    case 1: for _ in 0..<round { await Task.yield() }
    case 2: for _ in 0..<round * 50 { await Task.yield() }
    default:
      try await eventually("the machine is accepted or refused") {
        if created.withLock({ $0 }) { return true }
        return try await test.count("SELECT count(*) FROM vms WHERE name = \(vm)") > 0
      }
    }
  }
}
