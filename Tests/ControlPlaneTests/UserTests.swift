import AloftModel
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Users")
struct UserTests {
  @Test("a user is made, shown by id and name, changed and deleted, with events and audit records")
  func life() async throws {
    try await TestPlane.with { test async throws in
      let made = await test.call(.post, "/v1/users", ["name": "ada", "cloud_role": "auditor"])
      #expect(made.status == 201, "\(made)")
      #expect(made["kind"] == "person" && made["cloud_role"] == "auditor" && made["disabled"] == false)
      let id = try #require(made["id"]?.stringValue.flatMap { UserID($0) })
      #expect(made.header("Location") == "/v1/users/\(id)")
      #expect(await test.call(.get, "/v1/users/ada").json == made.json)
      #expect(await test.call(.get, "/v1/users/\(id)").header("ETag") == made.header("ETag"))
      let names = await test.call(.get, "/v1/users")["items"]?.arrayValue?.compactMap { $0["name"]?.stringValue }
      #expect(names == ["root", "ada"])

      let renamed = await test.call(.patch, "/v1/users/ada", ["name": "lovelace"])
      #expect(renamed["name"] == "lovelace" && renamed["cloud_role"] == "auditor", "\(renamed)")
      let demoted = await test.call(.patch, "/v1/users/lovelace", ["cloud_role": .null, "disabled": true])
      #expect(demoted["cloud_role"] == .null && demoted["disabled"] == true, "\(demoted)")
      #expect(await test.call(.delete, "/v1/users/\(id)").status == 204)
      #expect(await test.call(.get, "/v1/users/\(id)").code == "not_found")
      #expect(try await test.eventKinds(id.uuid) == ["user.created", "user.updated", "user.updated", "user.deleted"])
      #expect(
        try await test.count(
          "SELECT count(*) FROM audit WHERE resource_id = \(id) AND user_id = \(UserRecord.root) AND actor LIKE 'token:%'"
        )
          == 4)
      #expect(try await test.count("SELECT count(*) FROM events WHERE project_id IS NOT NULL") == 0)
    }
  }

  @Test("a name that is taken, a kind that does not exist and a body without a change are refused")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("ada")
      try await test.makeUser("bob")
      let taken = await test.call(.post, "/v1/users", ["name": "ada"])
      #expect(taken.status == 409 && taken.code == "name_taken" && taken.place == "/name", "\(taken)")
      #expect(await test.call(.patch, "/v1/users/bob", ["name": "ada"]).code == "name_taken")
      #expect(await test.call(.post, "/v1/users", ["name": "x", "kind": "robot"]).place == "/kind")
      #expect(await test.call(.post, "/v1/users", ["name": "Ada"]).place == "/name")
      #expect(await test.call(.patch, "/v1/users/bob", [:]).status == 400)
      #expect(await test.call(.patch, "/v1/users/bob", ["kind": "service"]).place == "/kind")
    }
  }

  @Test("If-Match keeps a change from what it was not meant for; a retry with the same key makes one user")
  func preconditions() async throws {
    try await TestPlane.with { test async throws in
      let key = ["Idempotency-Key": "k"]
      let made = await test.call(.post, "/v1/users", ["name": "ada"], headers: key)
      #expect(await test.call(.post, "/v1/users", ["name": "ada"], headers: key).bytes == made.bytes)
      let match = ["If-Match": try #require(made.header("ETag"))]
      #expect(await test.call(.patch, "/v1/users/ada", ["disabled": true], headers: match).status == 200)
      #expect(await test.call(.patch, "/v1/users/ada", ["disabled": false], headers: match).status == 412)
      #expect(await test.call(.delete, "/v1/users/ada", headers: match).status == 412)
    }
  }

  @Test("dry runs answer like the change and leave nothing")
  func dryRun() async throws {
    try await TestPlane.with { test async throws in
      let id = try await test.makeUser("ada")
      let token = try await test.issue(["user": "ada"])
      let before = try await test.rowCounts()
      let ada = await test.call(.get, "/v1/users/ada")
      let calls: [(HTTPRequest.Method, String, JSONValue?, Int)] = [
        (.post, "/v1/users", ["name": "bob"], 200), (.patch, "/v1/users/ada", ["disabled": true], 200),
        (.delete, "/v1/users/ada", nil, 204), (.post, "/v1/tokens", ["user": "ada"], 200),
        (.delete, "/v1/tokens/\(token.id)", nil, 204),
      ]
      for (method, path, body, status) in calls {
        let answer = await test.call(method, path + "?dry_run=true", body, headers: ["Idempotency-Key": "dry"])
        #expect(answer.status == status, "\(method) \(path): \(answer)")
        if let secret = answer["secret"]?.stringValue {
          #expect(await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(secret)).code == "token_invalid")
        }
      }
      #expect(try await test.rowCounts() == before)
      #expect(await test.call(.get, "/v1/users/\(id)").json == ada.json)
      #expect(await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(token.secret)).status == 200)
    }
  }

  @Test("an operator of the cloud makes no users, changes no roles and makes no tokens for others")
  func operators() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("eve", cloudRole: .operator)
      let eve = TestPlane.bearer(try await test.issue(["user": "eve"]).secret)
      #expect(await test.call(.get, "/v1/users/eve", headers: eve).status == 200)
      for (method, path, body) in [
        (HTTPRequest.Method.post, "/v1/users", ["name": "puppet", "cloud_role": "admin"] as JSONValue?),
        (.patch, "/v1/users/eve", ["cloud_role": "admin"]), (.patch, "/v1/users/root", ["disabled": true]),
        (.delete, "/v1/users/root", nil), (.post, "/v1/tokens", ["user": "root"]),
      ] {
        let answer = await test.call(method, path, body, headers: eve)
        #expect(answer.status == 403 && answer.code == "forbidden", "\(method) \(path): \(answer)")
      }
      #expect(await test.call(.get, "/v1/tokens?user=root", headers: eve).code == "forbidden")
      // Who exists and who does not is not told either.
      #expect(await test.call(.get, "/v1/tokens?user=nobody", headers: eve).code == "forbidden")
      #expect(await test.call(.get, "/v1/tokens?user=eve", headers: eve).status == 200)
    }
  }

  @Test("the last enabled admin is not disabled, demoted or deleted; root is never deleted and keeps its name")
  func lastAdmin() async throws {
    try await TestPlane.with { test async throws in
      for body in [["disabled": true], ["cloud_role": .null], ["cloud_role": "operator"]] as [JSONValue] {
        let answer = await test.call(.patch, "/v1/users/root", body)
        #expect(answer.status == 409 && answer.code == "last_admin", "\(answer)")
      }
      #expect(await test.call(.delete, "/v1/users/root").code == "in_use")
      #expect(await test.call(.patch, "/v1/users/root", ["name": "toor"]).code == "in_use")
      // Another admin who is disabled does not count.
      try await test.makeUser("ada", cloudRole: .admin)
      let ada = TestPlane.bearer(try await test.issue(["user": "ada"]).secret)
      #expect(await test.call(.patch, "/v1/users/ada", ["disabled": true]).status == 200)
      #expect(await test.call(.patch, "/v1/users/root", ["disabled": true]).code == "last_admin")
      #expect(await test.call(.patch, "/v1/users/ada", ["disabled": false]).status == 200)
      #expect(await test.call(.patch, "/v1/users/root", ["disabled": true]).status == 200)
      #expect(await test.call(.get, "/v1/whoami").code == "user_disabled")
      #expect(await test.call(.delete, "/v1/users/ada", headers: ada).code == "last_admin")
      #expect(await test.call(.patch, "/v1/users/root", ["disabled": false], headers: ada).status == 200)
      #expect(await test.call(.delete, "/v1/users/ada", headers: ada).status == 204)
      #expect(await test.call(.get, "/v1/whoami", headers: ada).code == "token_invalid")
    }
  }

  @Test("admins who demote each other at once leave one")
  func demotions() async throws {
    try await TestPlane.with(poolSize: 6) { test async throws in
      let other = try test.replica()
      for round in 0..<5 {
        let names = ["root", "ada\(round)", "bob\(round)"]
        var tokens = [test.token]
        for name in names.dropFirst() {
          try await test.makeUser(name, cloudRole: .admin)
          tokens.append(try await test.issue(["user": .string(name)]).secret)
        }
        // Each takes the role from the next one, all at once, on two replicas.
        let answers = await withTaskGroup(of: Answer.self) { group in
          for (index, token) in tokens.enumerated() {
            let victim = names[(index + 1) % names.count]
            group.addTask {
              await test.call(
                .patch, "/v1/users/\(victim)", ["cloud_role": .null], headers: TestPlane.bearer(token),
                on: index == 1 ? other : nil)
            }
          }
          return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.allSatisfy { [200, 403, 409].contains($0.status) }, "\(answers)")
        #expect(try await test.count("SELECT count(*) FROM users WHERE cloud_role = 'admin'") >= 1)
        // As it was, for the next round.
        try await test.database.execute("UPDATE users SET cloud_role = 'admin' WHERE name = 'root'")
        try await test.database.execute("UPDATE users SET cloud_role = NULL WHERE name <> 'root'")
        try await eventually("root is an admin again") { await test.call(.get, "/v1/users").status == 200 }
      }
    }
  }

  @Test("who is no admin any more changes no users, whatever a replica remembers")
  func stale() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("ada", cloudRole: .admin)
      let ada = TestPlane.bearer(try await test.issue(["user": "ada"]).secret)
      #expect(await test.call(.get, "/v1/users", headers: ada).status == 200)
      // Behind the back of every replica's memory.
      try await test.database.execute("UPDATE users SET cloud_role = NULL WHERE name = 'ada'")
      let answer = await test.call(.patch, "/v1/users/ada", ["cloud_role": "admin"], headers: ada)
      #expect(answer.status == 403, "\(answer)")
    }
  }

  @Test("a deleted user's tokens and memberships go with it")
  func cascade() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeUser("ada")
      let token = try await test.issue(["user": "ada"])
      _ = await test.call(.put, "/v1/projects/default/members/ada", ["role": "member"])
      #expect(try await test.count("SELECT count(*) FROM project_members") == 1)
      let other = try test.replica()
      let headers = TestPlane.bearer(token.secret)
      #expect(await test.call(.get, "/v1/whoami", headers: headers, on: other).status == 200)
      #expect(await test.call(.delete, "/v1/users/ada").status == 204)
      #expect(await test.call(.get, "/v1/whoami", headers: headers).code == "token_invalid")
      try await eventually("the other replica refuses it") {
        await test.call(.get, "/v1/whoami", headers: headers, on: other).code == "token_invalid"
      }
      #expect(try await test.count("SELECT count(*) FROM project_members") == 0)
      #expect(await test.call(.get, "/v1/tokens/\(token.id)").code == "not_found")
    }
  }
}
