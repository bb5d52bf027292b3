import Foundation
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Authentication")
struct AuthTests {
  /// Every operation of the contract that is not open, with something in place of its path parameters.
  private static func closed() throws -> [(method: HTTPRequest.Method, path: String)] {
    try Repository.contract.get().operations.filter { !$0.security.isEmpty }.map {
      ($0.method, $0.path.replacing(#/\{[a-z_]+\}/#, with: "some-thing"))
    }
  }

  @Test("no operation with security answers without a token, with a wrong one, or with an expired one")
  func everyOperation() async throws {
    try await TestPlane.with { test async throws in
      let expired = try await APITokens.create(
        description: "old", expiresAfter: .seconds(-10), in: test.database)
      let operations = try Self.closed()
      #expect(operations.count > 20)
      let cases: [(authorization: String?, code: String)] = [
        (nil, "unauthenticated"), ("Basic YWxvZnQ6YWxvZnQ=", "unauthenticated"), ("Bearer", "unauthenticated"),
        ("Bearer aloft_0000", "token_invalid"), ("Bearer \(expired)", "token_expired"),
      ]
      for (method, path) in operations {
        for (authorization, code) in cases {
          var headers: [String: String] = [:]
          headers["Authorization"] = authorization
          let answer = await test.send(method, path, headers: headers)
          #expect(answer.status == 401, "\(method) \(path) \(authorization ?? "-"): \(answer)")
          #expect(answer.code == code, "\(method) \(path)")
          #expect(answer.header("WWW-Authenticate") != nil)
        }
      }
    }
  }

  @Test("the open operations need no token; those to log in with say what else they need")
  func open() async throws {
    try await TestPlane.with { test async throws in
      for operation in try Repository.contract.get().operations where operation.security.isEmpty {
        let answer = await test.send(operation.method, operation.path)
        let isLogin = operation.tags.contains("sessions")
        #expect(isLogin ? [200, 400, 404].contains(answer.status) : answer.status == 200, "\(operation.id): \(answer)")
      }
    }
  }

  @Test("a revoked token is refused as soon as the memory of it is over")
  func revoked() async throws {
    try await TestPlane.with { test async throws in
      #expect(await test.call(.get, "/v1/projects").status == 200)
      try await test.database.execute("DELETE FROM api_tokens")
      try await eventually("the token is refused") { await test.call(.get, "/v1/projects").code == "token_invalid" }
    }
  }

  @Test("no secret of a token is in the database")
  func hashed() async throws {
    try await TestPlane.with { test async throws in
      let found = try await test.count(
        "SELECT count(*) FROM api_tokens t WHERE t::text LIKE \("%" + String(test.token.suffix(20)) + "%")")
      #expect(found == 0)
    }
  }

  @Test("the database's clock alone says whether a token has expired")
  func clock() async throws {
    try await TestPlane.with { test async throws in
      let token = try await APITokens.create(description: "x", expiresAfter: .seconds(3600), in: test.database)
      let future = Environment(
        now: { Date(timeIntervalSinceNow: 1e9) }, random: Environment.live.random, sleep: Environment.live.sleep)
      let cache = TokenCache(database: test.database, environment: future, logger: quiet)
      _ = try await cache.authenticate(Credentials(authorization: "Bearer \(token)"))
    }
  }

  @Test("an agent's call needs a certificate, and a join needs a token that was made")
  func agents() async throws {
    try await TestPlane.with { test async throws in
      for (method, path) in [(HTTPRequest.Method.get, "assignments"), (.put, "node"), (.post, "observations")] {
        #expect(await test.send(method, "/agent/v1/\(path)").code == "unauthenticated")
      }
      let answer = try await FakeAgent.join(test, "node-a", token: "aloftjoin_00", key: .init())
      #expect(answer.status == 401)
      #expect(answer.code == "join_token_invalid")
    }
  }
}
