import AloftModel
import Foundation
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("API tokens")
struct TokenTests {
  @Test("a token is made, listed, shown without its secret, used and revoked, with events and audit records")
  func life() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("ada")
      let made = await test.call(.post, "/v1/tokens", ["user": "ada", "description": "laptop", "ttl_seconds": 3600])
      #expect(made.status == 201, "\(made)")
      let secret = try #require(made["secret"]?.stringValue)
      let id = try #require(made["id"]?.stringValue.flatMap { APITokenID($0) })
      #expect(made.header("Location") == "/v1/tokens/\(id)")
      #expect(
        made["user"] == "ada" && made["project"] == .null && made["role"] == .null && made["last_used_at"] == .null)
      #expect(made["expires_at"] != .null)
      let ada = TestPlane.bearer(secret)
      let shown = await test.call(.get, "/v1/tokens/\(id)", headers: ada)
      #expect(shown.status == 200 && shown["secret"] == nil && shown["description"] == "laptop", "\(shown)")
      #expect(await test.call(.get, "/v1/tokens", headers: ada)["items"]?.arrayValue?.count == 1)
      #expect(await test.call(.get, "/v1/tokens?user=ada")["items"]?[0] == shown.json)
      // Root's own are others.
      #expect(await test.call(.get, "/v1/tokens")["items"]?[0]?["user"] == "root")
      #expect(await test.call(.delete, "/v1/tokens/\(id)", headers: ["If-Match": "\"9\""]).status == 412)
      #expect(await test.call(.delete, "/v1/tokens/\(id)", headers: ada).status == 204)
      #expect(await test.call(.get, "/v1/whoami", headers: ada).code == "token_invalid")
      #expect(try await test.eventKinds(id.uuid) == ["token.created", "token.deleted"])
      #expect(try await test.count("SELECT count(*) FROM audit WHERE resource_id = \(id)") == 2)
    }
  }

  @Test("whoami tells the user, the token, its limit, and the roles that are effective for this token")
  func whoami() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("shop")
      let root = await test.call(.get, "/v1/whoami")
      #expect(root["user"]?["name"] == "root" && root["user"]?["kind"] == "service" && root["cloud_role"] == "admin")
      #expect(root["limit"] == .null && root["expires_at"] == .null && root["projects"] == [])
      let member = try await test.makeToken(["default": .member, "shop": .viewer])
      func projects(_ token: String) async -> [String] {
        let answer = await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(token))
        return (answer["projects"]?.arrayValue ?? []).map {
          "\($0["name"]?.stringValue ?? ""):\($0["role"]?.stringValue ?? "")"
        }
      }
      #expect(await projects(member) == ["default:member", "shop:viewer"])
      let narrow = try await test.issue(["project": "default", "role": "viewer", "ttl_seconds": 60], by: member).secret
      #expect(await projects(narrow) == ["default:viewer"])
      let answer = await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(narrow))
      #expect(answer["limit"]?["name"] == "default" && answer["limit"]?["role"] == "viewer", "\(answer)")
      #expect(answer["expires_at"] != .null && answer["cloud_role"] == .null)
      #expect(await projects(try await test.makeToken(cloudRole: .admin, ["shop": .viewer])) == ["shop:admin"])
      #expect(await projects(try await test.makeToken(cloudRole: .auditor, ["shop": .member])) == ["shop:member"])
    }
  }

  @Test("a retry with the same key gives the same secret, to its maker only, and the secret is in no column")
  func retry() async throws {
    try await TestPlane.with { test async throws in
      let key = ["Idempotency-Key": "k"]
      let first = await test.call(.post, "/v1/tokens", ["description": "ci job"], headers: key)
      #expect(await test.call(.post, "/v1/tokens", ["description": "ci job"], headers: key).bytes == first.bytes)
      #expect(try await test.count("SELECT count(*) FROM api_tokens") == 2)
      let secret = try #require(first["secret"]?.stringValue)
      #expect(await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(secret)).status == 200)
      let readable = try await test.count(
        """
        SELECT (SELECT count(*) FROM api_tokens t WHERE position(\(secret) IN t::text) > 0)
             + (SELECT count(*) FROM idempotency_keys WHERE position(convert_to('ci job', 'UTF8') IN body) > 0)
             + (SELECT count(*) FROM events e WHERE position(\(secret) IN e::text) > 0)
             + (SELECT count(*) FROM audit a WHERE position(\(secret) IN a::text) > 0)
        """)
      #expect(readable == 0)
    }
  }

  @Test("project and role come together, and the project must be one that the caller may see")
  func project() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("elsewhere")
      let member = TestPlane.bearer(try await test.makeToken(["default": .member]))
      func refusal(_ body: JSONValue) async -> Answer { await test.call(.post, "/v1/tokens", body, headers: member) }
      #expect(await refusal(["project": "default"]).place == "/role")
      #expect(await refusal(["role": "viewer"]).place == "/project")
      let (hidden, missing) = (
        await refusal(["project": "elsewhere", "role": "viewer"]),
        await refusal(["project": "nowhere", "role": "viewer"])
      )
      #expect(hidden.status == 404 && missing.status == 404)
      #expect(hidden["detail"]?.stringValue?.replacing("elsewhere", with: "nowhere") == missing["detail"]?.stringValue)
      #expect(await refusal(["ttl_seconds": 59]).place == "/ttl_seconds")
      #expect(await refusal(["project": "default", "role": "owner"]).place == "/role")
    }
  }

  @Test("a token that is for a project makes, sees and revokes only tokens for it, with at most its role")
  func narrowing() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("shop")
      let all = try await test.makeToken(["default": .admin, "shop": .admin])
      let narrow = try await test.issue(["project": "default", "role": "member"], by: all).secret
      func made(_ body: JSONValue) async -> Answer {
        await test.call(.post, "/v1/tokens", body, headers: TestPlane.bearer(narrow))
      }
      for body in [[:], ["user": .null], ["project": "default", "role": "admin"]] as [JSONValue] {
        #expect(await made(body).code == "forbidden", "\(body)")
      }
      #expect(await made(["project": "shop", "role": "viewer"]).status == 404)
      #expect(await made(["project": "default", "role": "member"]).status == 201)
      #expect(await made(["project": "default", "role": "viewer"]).status == 201)
      let stronger = try await test.issue(["project": "default", "role": "admin"], by: all).id
      let whole = try await test.issue(by: all).id
      let headers = TestPlane.bearer(narrow)
      for id in [stronger, whole] {
        #expect(await test.call(.get, "/v1/tokens/\(id)", headers: headers).code == "not_found")
        #expect(await test.call(.delete, "/v1/tokens/\(id)", headers: headers).code == "not_found")
      }
      #expect(await test.call(.get, "/v1/tokens", headers: headers)["items"]?.arrayValue?.count == 3)
      #expect(await test.call(.get, "/v1/tokens", headers: TestPlane.bearer(all))["items"]?.arrayValue?.count == 6)
      // An admin of the cloud is none with such a token.
      let root = TestPlane.bearer(try await test.issue(["project": "default", "role": "admin"]).secret)
      #expect(await test.call(.post, "/v1/users", ["name": "x"], headers: root).status == 403)
      let forOthers = await test.call(
        .post, "/v1/tokens", ["user": "root", "project": "default", "role": "admin"], headers: root)
      #expect(forOthers.status == 201, "its own name is no other user: \(forOthers)")
    }
  }

  @Test("no token lives longer than the one that made it, for whomever it is")
  func lifetime() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("ada")
      let short = TestPlane.bearer(try await test.issue(["ttl_seconds": 600]).secret)
      for body in [[:], ["ttl_seconds": 601], ["user": "ada"], ["user": "ada", "ttl_seconds": 3600]] as [JSONValue] {
        let answer = await test.call(.post, "/v1/tokens", body, headers: short)
        #expect(answer.code == "forbidden" && answer.place == "/ttl_seconds", "\(answer)")
      }
      #expect(await test.call(.post, "/v1/tokens", ["user": "ada", "ttl_seconds": 300], headers: short).status == 201)
    }
  }

  @Test("nobody but an admin of the cloud has to do with the tokens of others")
  func others() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("ada")
      let theirs = try await test.issue(["user": "ada"])
      for token in [
        try await test.makeToken(["default": .admin]), try await test.makeToken(cloudRole: .auditor),
        try await test.makeToken(cloudRole: .operator),
      ] {
        let headers = TestPlane.bearer(token)
        #expect(await test.call(.post, "/v1/tokens", ["user": "ada"], headers: headers).place == "/user")
        #expect(await test.call(.get, "/v1/tokens?user=ada", headers: headers).code == "forbidden")
        #expect(await test.call(.get, "/v1/tokens/\(theirs.id)", headers: headers).code == "not_found")
        #expect(await test.call(.delete, "/v1/tokens/\(theirs.id)", headers: headers).code == "not_found")
      }
      let admin = TestPlane.bearer(try await test.makeToken(cloudRole: .admin))
      #expect(await test.call(.get, "/v1/tokens/\(theirs.id)", headers: admin).status == 200)
      #expect(await test.call(.post, "/v1/tokens", ["user": "nobody"], headers: admin).code == "not_found")
      #expect(await test.call(.delete, "/v1/tokens/\(theirs.id)", headers: admin).status == 204)
    }
  }

  @Test("a user has 100 tokens at most, also when they are made at once; expired ones make room")
  func limit() async throws {
    try await TestPlane.with(poolSize: 6) { test async throws in
      let id = try await test.makeUser("ada")
      try await test.database.execute(
        """
        INSERT INTO api_tokens (id, secret_hash, description, user_id)
        SELECT gen_random_uuid(), convert_to(i::text, 'UTF8'), '', \(id) FROM generate_series(1, 97) i
        """)
      let answers = await withTaskGroup(of: Answer.self) { group in
        for _ in 0..<8 { group.addTask { await test.call(.post, "/v1/tokens", ["user": "ada"]) } }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.filter { $0.status == 201 }.count == 3)
      #expect(answers.filter { $0.status == 409 && $0.code == "limit_reached" }.count == 5, "\(answers)")
      try await test.database.execute(
        """
        UPDATE api_tokens SET expires_at = aloft_now() WHERE id IN (
          SELECT id FROM api_tokens WHERE user_id = \(id) LIMIT 40)
        """)
      #expect(await test.call(.post, "/v1/tokens", ["user": "ada"]).status == 201)
      #expect(try await test.count("SELECT count(*) FROM api_tokens WHERE user_id = \(id)") == 61)
    }
  }

  @Test("when tokens were used is written behind the requests, for all at once, and by two replicas at a time")
  func lastUse() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let other = try test.replica()
      var ids: [APITokenID] = []
      for _ in 0..<5 {
        let made = try await test.issue()
        ids.append(made.id)
        for replica in [nil, other] {
          #expect(
            await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(made.secret), on: replica).status == 200)
        }
      }
      let unused = try await test.issue().id
      #expect(try await test.count("SELECT count(*) FROM api_tokens WHERE last_used_at IS NOT NULL") == 0)
      async let first: Void = test.plane.stepTokens()
      async let second: Void = other.stepTokens()
      _ = try await (first, second)
      // Root's own too.
      #expect(try await test.count("SELECT count(*) FROM api_tokens WHERE last_used_at IS NOT NULL") == 6)
      #expect(await test.call(.get, "/v1/tokens/\(ids[0])")["last_used_at"] != .null)
      #expect(await test.call(.get, "/v1/tokens/\(unused)")["last_used_at"] == .null)
      #expect(await test.call(.get, "/v1/tokens/\(ids[0])").header("ETag") == "\"1\"")
    }
  }

  @Test("an expired token can be seen for 30 days, then the janitor removes it")
  func janitor() async throws {
    try await TestPlane.with { test async throws in
      for (description, days) in [("gone", 31), ("young", 29)] {
        let id = try await test.issue(["description": .string(description)]).id
        try await test.database.execute(
          "UPDATE api_tokens SET expires_at = aloft_now() - make_interval(days => \(days)) WHERE id = \(id)")
      }
      try await test.plane.stepJanitor()
      let left = await test.call(.get, "/v1/tokens")["items"]?.arrayValue?.compactMap { $0["description"]?.stringValue }
      #expect(left == ["test", "young"])
    }
  }
}
