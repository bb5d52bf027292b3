import AloftModel
import ControlPlane
import JSON
import TestSupport
import Testing

@Suite("A replica that is about to go down")
struct DrainTests {
  // Together the waits would take longer than the test may.
  @Test(
    "held polls and waiting calls are answered with what there is, and nobody waits any more",
    .timeLimit(.minutes(10)))
  func waitersAreAnswered() async throws {
    try await TestPlane.with(background: true, poolSize: 4) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let first = await agent.send(.get, "assignments?after=0&wait=0")
      let revision = try #require(first["revision"]?.intValue, "\(first)")
      let polling = Task { await agent.send(.get, "assignments?after=\(revision)&wait=60") }
      let waiting = Task {
        await test.call(.post, "/v1/vms", TestPlane.body("vm"), headers: ["Prefer": "wait=60"])
      }
      try await eventually("the machine is accepted, and its node's poll answered") {
        try await test.count("SELECT count(*) FROM claims WHERE purpose = 'run'") == 1
      }
      _ = await polling.value
      let behind = try #require(await agent.send(.get, "assignments?after=0&wait=0")["revision"]?.intValue)
      let held = Task { await agent.send(.get, "assignments?after=\(behind)&wait=60") }
      test.plane.drain()
      #expect(await held.value.status == 200)
      #expect(await waiting.value.status == 202)
      for _ in 0..<10 {
        #expect(await agent.send(.get, "assignments?after=\(behind)&wait=60").status == 200)
      }
    }
  }
}
