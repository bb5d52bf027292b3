import AloftModel
import Execution
import Foundation
import HTTPClient
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Revoking tokens")
struct TokenRevocationTests {
  @Test("a revoked token is refused at once where it was revoked, and soon by the other replica")
  func replicas() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let other = try test.replica()
      let token = try await test.issue()
      let headers = TestPlane.bearer(token.secret)
      #expect(await test.call(.get, "/v1/whoami", headers: headers, on: other).status == 200)
      #expect(await test.call(.get, "/v1/whoami", headers: headers).status == 200)
      #expect(await test.call(.delete, "/v1/tokens/\(token.id)").status == 204)
      let refused = await test.call(.get, "/v1/whoami", headers: headers)
      #expect(refused.status == 401 && refused.code == "token_invalid", "\(refused)")
      try await eventually("the other replica refuses it") {
        await test.call(.get, "/v1/whoami", headers: headers, on: other).code == "token_invalid"
      }
    }
  }

  @Test("what a replica remembers of a token is good for half a second")
  func lifetime() async throws {
    try await TestPlane.with { test async throws in
      let clock = Lock(1000.0)
      let environment = Environment(
        // The wall clock is set back meanwhile; that keeps nothing good.
        now: { clock.withLock { Date(timeIntervalSince1970: -$0) } }, uptime: { clock.withLock { $0 } },
        random: Environment.live.random, sleep: Environment.live.sleep)
      let cache = TokenCache(database: test.database, environment: environment, logger: quiet)
      let token = try await test.issue()
      _ = try await cache.authenticate(Credentials(authorization: "Bearer \(token.secret)"))
      #expect(await test.call(.delete, "/v1/tokens/\(token.id)").status == 204)
      clock.withLock { $0 += 0.49 }
      _ = try await cache.authenticate(Credentials(authorization: "Bearer \(token.secret)"))
      clock.withLock { $0 += 0.02 }
      let problem = await #expect(throws: Problem.self) {
        try await cache.authenticate(Credentials(authorization: "Bearer \(token.secret)"))
      }
      #expect(problem?.code == .tokenInvalid)
    }
  }

  @Test("what was read before a token was revoked is not remembered behind it")
  func readBefore() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let cache = TokenCache(database: test.database, environment: .live, logger: quiet)
      let token = try await test.issue()
      // The look-up waits, the token is forgotten meanwhile.
      let lookup = try await test.holding("LOCK TABLE project_members IN ACCESS EXCLUSIVE MODE") {
        let lookup = Task { try await cache.authenticate(Credentials(authorization: "Bearer \(token.secret)")) }
        try await eventually("the look-up waits") {
          try await test.count(
            """
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock' AND position('api_tokens' IN query) > 0
            """) > 0
        }
        cache.forget(token.id)
        return lookup
      }
      _ = try await lookup.value
      #expect(cache.count == 0)
    }
  }

  @Test("a token that was just revoked, or whose user was disabled, makes no other, whatever a replica remembers")
  func leavesNothing() async throws {
    try await TestPlane.with { test async throws in
      let other = try test.replica()
      try await test.makeUser("ada")
      let token = try await test.issue(["user": "ada"])
      let headers = TestPlane.bearer(token.secret)
      #expect(await test.call(.get, "/v1/whoami", headers: headers, on: other).status == 200)
      try await test.database.execute("UPDATE users SET disabled = true WHERE name = 'ada'")
      let disabled = await test.call(.post, "/v1/tokens", [:], headers: headers, on: other)
      #expect(disabled.code == "user_disabled", "\(disabled)")
      try await test.database.execute("UPDATE users SET disabled = false WHERE name = 'ada'")
      try await test.database.execute("DELETE FROM api_tokens WHERE id = \(token.id)")
      let revoked = await test.call(.post, "/v1/tokens", [:], headers: headers, on: other)
      // Where the replica has looked in between, it remembers the disabled user for half a second.
      #expect(["token_invalid", "user_disabled"].contains(revoked.code), "\(revoked)")
      #expect(try await test.count("SELECT count(*) FROM api_tokens") == 1)
    }
  }

  @Test("a token that makes others while it is revoked leaves none that was made behind its end")
  func race() async throws {
    try await TestPlane.with(poolSize: 6) { test async throws in
      try await test.makeUser("ada")
      let token = try await test.issue(["user": "ada"])
      let made = await withTaskGroup(of: Answer.self) { group in
        for number in 0..<12 {
          group.addTask {
            if number == 6 { return await test.call(.delete, "/v1/tokens/\(token.id)") }
            return await test.call(.post, "/v1/tokens", [:], headers: TestPlane.bearer(token.secret))
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(made.allSatisfy { [201, 204, 401].contains($0.status) }, "\(made)")
      let count = made.filter { $0.status == 201 }.count
      #expect(
        try await test.count("SELECT count(*) FROM api_tokens t JOIN users a ON a.id = t.user_id WHERE a.name = 'ada'")
          == count)
      #expect(await test.call(.post, "/v1/tokens", [:], headers: TestPlane.bearer(token.secret)).status == 401)
    }
  }

  @Test("an open event stream of a revoked token ends")
  func stream() async throws {
    try await TestPlane.with(background: true, poolSize: 4) { test async throws in
      let token = try await test.issue()
      try await test.withServer { reach async throws in
        let request = HTTPClientRequest(
          url: reach.url + "/v1/events", headers: [.authorization: "Bearer \(token.secret)"])
        let stream = try await reach.client.events(request)
        var events = stream.makeAsyncIterator()
        #expect(try await events.next()?.event == "position")
        // Revoked at another replica, which cannot forget it here.
        let other = try test.replica()
        #expect(await test.call(.delete, "/v1/tokens/\(token.id)", on: other).status == 204)
        var reading = true
        while reading {
          do { reading = try await events.next() != nil } catch { reading = false }
        }
      }
    }
  }

  @Test("tokens that do not exist take no memory, however many are tried; those that exist are remembered")
  func memory() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let cache = TokenCache(database: test.database, environment: .live, logger: quiet)
      for _ in 0..<300 {
        let problem = await #expect(throws: Problem.self) {
          try await cache.authenticate(Credentials(authorization: "Bearer \(TokenSecret.make(.live))"))
        }
        #expect(problem?.code == .tokenInvalid)
      }
      #expect(cache.count == 0)
      _ = try await cache.authenticate(Credentials(authorization: "Bearer \(test.token)"))
      #expect(cache.count == 1)
    }
  }
}
