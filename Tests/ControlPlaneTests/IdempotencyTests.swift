import AloftModel
import ControlPlane
import JSON
import Testing

@Suite("Idempotency keys")
struct IdempotencyTests {
  private let key = ["Idempotency-Key": "try-1"]

  @Test("the same key with the same request gives the same answer and one VM; with another it is refused")
  func replay() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let first = await test.call(.post, "/v1/vms", TestPlane.body("web"), headers: key)
      #expect(first.status == 202, "\(first)")
      try await agent.obey()
      try await test.settle()
      let again = await test.call(.post, "/v1/vms", TestPlane.body("web"), headers: key)
      #expect(again.status == 202)
      #expect(again.bytes == first.bytes)
      #expect(again.header("ETag") == first.header("ETag"))
      #expect(again.header("Location") == first.header("Location"))
      let other = await test.call(.post, "/v1/vms", TestPlane.body("db"), headers: key)
      #expect(other.status == 422)
      #expect(other.code == "idempotency_key_reused")
      #expect(other.place == "Idempotency-Key")
      #expect(try await test.count("SELECT count(*) FROM vms") == 1)
      #expect(try await test.count("SELECT count(*) FROM audit WHERE operation = 'createVM'") == 1)
    }
  }

  @Test("a key that was refused can be used again")
  func refused() async throws {
    try await TestPlane.with { test async throws in
      let before = await test.call(.post, "/v1/vms", TestPlane.body("web"), headers: key)
      #expect(before.code == "image_unknown")
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("web"), headers: key).status == 202)
    }
  }

  @Test("twenty tries at once with one key make one VM and have one answer", arguments: [16384, 128])
  func parallel(memoryMiB: Int) async throws {
    try await TestPlane.with(poolSize: 6) { test async throws in
      try await test.makeImage()
      // With room for one VM only: who comes late must get the answer, and not hear that there is no room.
      _ = try await FakeAgent.join(test, report: FakeAgent.report(memoryMiB: memoryMiB))
      let answers = await withTaskGroup(of: Answer.self) { group in
        for _ in 0..<20 {
          group.addTask { await test.call(.post, "/v1/vms", TestPlane.body("web"), headers: key) }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.map(\.status) == [Int](repeating: 202, count: 20))
      #expect(Set(answers.map(\.bytes)).count == 1)
      #expect(try await test.count("SELECT count(*) FROM vms") == 1)
      #expect(try await test.findings() == [])
    }
  }

  @Test("the secret of a join token comes again to who made it, and is in no column")
  func secret() async throws {
    try await TestPlane.with { test async throws in
      let first = await test.call(.post, "/v1/node-tokens", ["description": "rack 4"], headers: key)
      #expect(first.status == 201, "\(first)")
      let again = await test.call(.post, "/v1/node-tokens", ["description": "rack 4"], headers: key)
      #expect(again.bytes == first.bytes)
      let secret = try #require(first["secret"]?.stringValue)
      #expect(secret.hasPrefix("aloftjoin_"))
      #expect(try await test.count("SELECT count(*) FROM node_tokens") == 1)
      let readable = try await test.count(
        """
        SELECT count(*) FROM idempotency_keys
         WHERE position(convert_to(\(secret), 'UTF8') IN body) > 0 OR position(convert_to('rack 4', 'UTF8') IN body) > 0
        """)
      #expect(readable == 0)
      let id = try #require(first["id"]?.stringValue)
      #expect(await test.call(.get, "/v1/node-tokens/\(id)")["secret"] == nil)
    }
  }

  @Test("keys of different callers do not meet")
  func callers() async throws {
    try await TestPlane.with { test async throws in
      let other = try await APITokens.create(description: "other", expiresAfter: nil, in: test.database)
      let first = await test.call(.post, "/v1/images", ["name": "a"], headers: key)
      let second = await test.call(
        .post, "/v1/images", ["name": "b"], headers: key.merging(["Authorization": "Bearer \(other)"]) { $1 })
      #expect(first.status == 201)
      #expect(second.status == 201, "\(second)")
      #expect(second["name"] == "b")
    }
  }

  @Test("a verb with a key is carried out once")
  func verb() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.settle()
      let first = await test.call(.post, "/v1/vms/web/reboot", headers: key)
      #expect(first.status == 202, "\(first)")
      #expect(await test.call(.post, "/v1/vms/web/reboot", headers: key).bytes == first.bytes)
      #expect(try await test.count("SELECT count(*) FROM vm_requests") == 1)
    }
  }
}
