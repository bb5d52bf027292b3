import AloftModel
import ControlPlane
import HTTPTypes
import JSON
import Postgres
import Testing

@Suite("Documents in parts")
struct AssignmentPartsTests {
  @Test("documents come in parts that an agent can take, however large users make them")
  func parts() async throws {
    try await TestPlane.with(bodyLimit: 1 << 20) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test, report: FakeAgent.report(vcpus: 64, memoryMiB: 64 * 128))
      var created: Set<VMID> = []
      for number in 0..<40 { created.insert(try await test.createVM("vm-\(number)").vm) }
      // The most that a create takes; U+0001 is six bytes in JSON.
      try await test.database.execute("UPDATE vms SET user_data = repeat(chr(1), 65536)")
      var listed: [String] = []
      var after = 0
      var parts = 0
      var isComplete = false
      while !isComplete, parts < 10 {
        let answer = await agent.send(.get, "assignments?after=\(after)&wait=0")
        #expect(answer.bytes.count < 16 << 20)
        let revision = try #require(answer["revision"]?.intValue)
        #expect(revision > after)
        after = revision
        parts += 1
        if case .array(let documents) = answer["documents"] {
          listed += documents.compactMap { $0["vm"]?.stringValue }
        }
        isComplete = answer["complete"] != false
      }
      #expect(parts > 1)
      #expect(listed.count == 40)
      #expect(Set(listed) == Set(created.map(\.description)))
      #expect(after == 40, "the next poll goes on behind the last")
      #expect(try await test.database.one("SELECT assignment_revision FROM nodes")?.get(0) == 40)
    }
  }

  @Test("user data and keys are limited in bytes")
  func limits() async throws {
    try await TestPlane.with(bodyLimit: 1 << 20) { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      let data = await test.call(
        .post, "/v1/vms", TestPlane.body("web", ("user_data", .string(String(repeating: "ä", count: 40_000)))))
      #expect(data.code == "too_long" && data.place == "/user_data", "\(data)")
      let key = JSONValue.string("ssh-ed25519 " + String(repeating: "A", count: 8000))
      let keys = await test.call(
        .post, "/v1/vms", TestPlane.body("web", ("ssh_keys", .array(Array(repeating: key, count: 32)))))
      #expect(keys.code == "too_long" && keys.place == "/ssh_keys", "\(keys)")
    }
  }
}
