import AloftModel
import ControlPlane
import JSON
import Testing

@Suite("The way in")
struct BootstrapTests {
  @Test("bootstrap makes one admin with a token, also when asked twice at once, and none when there is one")
  func once() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let database = test.database
      let secrets = await withTaskGroup(of: String?.self) { group in
        for name in ["ada", "bob", "eve"] {
          group.addTask { try? await APITokens.bootstrap(name: name, in: database) }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }.compactMap(\.self)
      #expect(secrets.count == 1)
      let caller = await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(try #require(secrets.first)))
      #expect(caller["user"]?["kind"] == "person" && caller["cloud_role"] == "admin", "\(caller)")
      #expect(try await test.count("SELECT count(*) FROM users") == 2)
      let refusal = await #expect(throws: CommandRefusal.self) {
        try await APITokens.bootstrap(name: "late", in: database)
      }
      #expect(refusal?.description.contains("this cloud has an admin") == true)
      #expect(try await test.count("SELECT count(*) FROM audit WHERE operation = 'bootstrapUser'") == 1)
      #expect(try await test.count("SELECT count(*) FROM events WHERE kind = 'user.created'") == 1)
    }
  }

  @Test("a name that is none or that somebody has is refused")
  func names() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("ada")
      for name in ["", "Ada", "1a", "a-", "a_b", String(repeating: "a", count: 64), "ada"] {
        await #expect(throws: CommandRefusal.self) { try await APITokens.bootstrap(name: name, in: test.database) }
      }
      _ = try await APITokens.bootstrap(name: String(repeating: "a", count: 63), in: test.database)
    }
  }

  @Test("a token of root is refused while root could not use it, unless it is made an admin again")
  func wayBack() async throws {
    try await TestPlane.with { test async throws in
      _ = try await APITokens.bootstrap(name: "ada", in: test.database)
      #expect(await test.call(.patch, "/v1/users/root", ["disabled": true, "cloud_role": .null]).status == 200)
      await #expect(throws: CommandRefusal.self) {
        try await APITokens.create(description: "", expiresAfter: nil, in: test.database)
      }
      let secret = try await APITokens.create(
        description: "", expiresAfter: nil, restoring: true, in: test.database)
      let caller = await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(secret))
      #expect(caller["user"]?["name"] == "root" && caller["cloud_role"] == "admin", "\(caller)")
    }
  }
}
