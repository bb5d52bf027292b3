import AloftModel
import Foundation
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Members of projects")
struct MemberTests {
  private static let path = "/v1/projects/default/members"

  /// The names and roles of the members of `default`, in the order of the list.
  private static func members(_ test: TestPlane) async throws -> [String: String] {
    let answer = await test.call(.get, path)
    let items = try #require(answer["items"]?.arrayValue, "\(answer)")
    return Dictionary(
      items.map { ($0["user_name"]?.stringValue ?? "", $0["role"]?.stringValue ?? "") }, uniquingKeysWith: { $1 })
  }

  private static func set(
    _ test: TestPlane, _ user: String, _ role: String, by token: String? = nil, _ headers: [String: String] = [:]
  ) async -> Answer {
    let headers = headers.merging(token.map { TestPlane.bearer($0) } ?? [:]) { $1 }
    return await test.call(.put, "\(path)/\(user)", ["role": .string(role)], headers: headers)
  }

  private static func remove(
    _ test: TestPlane, _ user: String, by token: String? = nil, _ headers: [String: String] = [:]
  ) async -> Answer {
    let headers = headers.merging(token.map { TestPlane.bearer($0) } ?? [:]) { $1 }
    return await test.call(.delete, "\(path)/\(user)", headers: headers)
  }

  @Test("a member is added, shown, given another role and removed, by name and by id, and each is told and audited")
  func lifecycle() async throws {
    try await TestPlane.with { test async throws in
      let token = try await test.makeToken(name: "alice")
      let added = await Self.set(test, "alice", "viewer")
      #expect(added.status == 201, "\(added)")
      let id = try #require(added["user_id"]?.stringValue.flatMap { UserID($0) })
      #expect(added.header("Location")?.hasSuffix("/members/\(id)") == true)
      #expect(added["user_name"] == "alice" && added["kind"] == "person" && added["role"] == "viewer")
      #expect(await test.call(.get, "\(Self.path)/alice").json == added.json)
      #expect(await test.call(.get, "\(Self.path)/\(id)").header("ETag") == added.header("ETag"))
      #expect(try await Self.members(test) == ["alice": "viewer"])
      #expect(await test.call(.get, "/v1/vms", headers: TestPlane.bearer(token)).status == 200)

      let changed = await Self.set(test, id.description, "member")
      #expect(changed.status == 200 && changed["role"] == "member", "\(changed)")
      #expect(changed["created_at"] == added["created_at"])
      #expect(changed.header("ETag") != added.header("ETag"))
      try await eventually("the new role is felt") {
        await test.call(.post, "/v1/images?dry_run=true", ["name": "x"], headers: TestPlane.bearer(token)).status == 200
      }

      #expect(await Self.remove(test, "alice").status == 204)
      #expect(await Self.remove(test, "alice").code == "not_found")
      #expect(await test.call(.get, "\(Self.path)/alice").code == "not_found")
      try await eventually("the project is out of sight") {
        await test.call(.get, "/v1/vms", headers: TestPlane.bearer(token)).code == "not_found"
      }
      #expect(try await test.eventKinds(id.uuid) == ["member.added", "member.updated", "member.removed"])
      let events = try await test.firstEvents(3)
      #expect(events.allSatisfy { $0.projectID != nil })
      #expect(String(decoding: events[0].jsonBytes, as: UTF8.self).contains("\"resource_id\":\"\(id)\""))
      let audited = try await test.database.query(
        "SELECT operation FROM audit WHERE resource_id = \(id) AND project_id IS NOT NULL ORDER BY id"
      ).map { try $0.get(0, as: String.self) }
      #expect(audited == ["setMember", "setMember", "removeMember"])
    }
  }

  @Test("to be given the role that one has changes nothing and tells nobody")
  func sameRole() async throws {
    try await TestPlane.with { test async throws in
      _ = try await test.makeToken(name: "alice")
      let added = await Self.set(test, "alice", "admin")
      let again = await Self.set(test, "alice", "admin")
      #expect(again.status == 200 && again.json == added.json)
      #expect(again.header("ETag") == added.header("ETag"))
      #expect(try await test.count("SELECT count(*) FROM events") == 1)
    }
  }

  @Test("the list shows each member once, page by page, in the order of user ids")
  func list() async throws {
    try await TestPlane.with { test async throws in
      for number in 0..<7 { _ = try await test.makeToken(["default": .viewer], name: "user-\(number)") }
      try await test.makeProjectRow("elsewhere")
      _ = try await test.makeToken(["elsewhere": .viewer], name: "stranger")
      var ids: [String] = []
      var sizes: [Int] = []
      var cursor: String?
      repeat {
        let page = await test.call(.get, "\(Self.path)?limit=3" + (cursor.map { "&cursor=\($0)" } ?? ""))
        let items = try #require(page["items"]?.arrayValue, "\(page)")
        sizes.append(items.count)
        ids += items.compactMap { $0["user_id"]?.stringValue }
        cursor = page["next_cursor"]?.stringValue
      } while cursor != nil
      #expect(sizes == [3, 3, 1])
      #expect(ids == ids.sorted() && Set(ids).count == 7)
      #expect(await test.call(.get, "/v1/projects/nowhere/members").code == "not_found")
    }
  }

  @Test("who cannot be a member is refused: unknown users, ids of other kinds, roles that there are not")
  func bad() async throws {
    try await TestPlane.with { test async throws in
      let before = try await test.rowCounts()
      for user in ["nobody", "usr_01h455vb4pex5vsknk084sn02q", "prj_01h455vb4pex5vsknk084sn02q"] {
        let answer = await Self.set(test, user, "viewer")
        #expect(answer.status == 404 && answer.place == "user", "\(answer)")
        #expect(answer["detail"]?.stringValue == "there is no user \(user)")
        #expect(await Self.remove(test, user).code == "not_found")
        #expect(await test.call(.get, "\(Self.path)/\(user)").code == "not_found")
      }
      #expect(await Self.set(test, "root", "owner").code == "not_one_of")
      #expect(await Self.set(test, "ROOT", "viewer").code == "bad_id")
      #expect(await test.call(.put, "\(Self.path)/root", [:]).code == "missing_field")
      #expect(await test.call(.put, "/v1/projects/nowhere/members/root", ["role": "viewer"]).code == "not_found")
      #expect(try await test.rowCounts() == before)
    }
  }

  @Test("a viewer or member who makes itself admin is refused, and so are a cloud operator and a stranger")
  func escalation() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("elsewhere")
      let callers: [(String, String, Int)] = [
        ("viewer", try await test.makeToken(["default": .viewer], name: "viewer"), 403),
        ("member", try await test.makeToken(["default": .member], name: "member"), 403),
        ("operator", try await test.makeToken(cloudRole: .operator, name: "operator"), 403),
        ("auditor", try await test.makeToken(cloudRole: .auditor, name: "auditor"), 403),
        ("stranger", try await test.makeToken(["elsewhere": .admin], name: "stranger"), 404),
        ("narrow", try await test.makeToken(["default": .admin], limit: ("default", .member), name: "narrow"), 403),
      ]
      let before = try await Self.members(test)
      for (name, token, status) in callers {
        #expect(await Self.set(test, name, "admin", by: token).status == status, "\(name)")
        #expect(await Self.remove(test, "narrow", by: token).status == status, "\(name)")
      }
      #expect(try await Self.members(test) == before)
    }
  }

  @Test("a cloud operator who makes a project is nobody in it, and a project's admin is nobody in the cloud")
  func noGain() async throws {
    try await TestPlane.with { test async throws in
      let cloudOperator = TestPlane.bearer(try await test.makeToken(cloudRole: .operator, name: "operator"))
      #expect(await test.call(.post, "/v1/projects", ["name": "shop"], headers: cloudOperator).status == 201)
      let body: JSONValue = ["role": "admin"]
      #expect(
        await test.call(.put, "/v1/projects/shop/members/operator", body, headers: cloudOperator).status == 403)
      #expect(await test.call(.post, "/v1/images?project=shop", ["name": "x"], headers: cloudOperator).status == 403)
      #expect(await test.call(.patch, "/v1/projects/shop", ["name": "x"], headers: cloudOperator).status == 403)

      let admin = TestPlane.bearer(try await test.makeToken(["default": .admin]))
      #expect(await test.call(.post, "/v1/projects", ["name": "mine"], headers: admin).status == 403)
      #expect(await test.call(.delete, "/v1/projects/default", headers: admin).status == 403)
      #expect(await test.call(.patch, "/v1/projects/default", ["name": "mine"], headers: admin).status == 200)
      #expect(await test.call(.patch, "/v1/projects/shop", ["name": "mine"], headers: admin).status == 404)
    }
  }

  @Test("the last admin stays, unless an admin of the cloud says otherwise; disabled admins do not count")
  func lastAdmin() async throws {
    try await TestPlane.with { test async throws in
      let alice = try await test.makeToken(["default": .admin], name: "alice")
      for refused in [
        await Self.set(test, "alice", "member", by: alice), await Self.remove(test, "alice", by: alice),
      ] {
        #expect(refused.status == 409 && refused.code == "last_admin", "\(refused)")
      }
      _ = try await test.makeToken(["default": .admin], name: "bob")
      _ = try await test.database.query("UPDATE users SET disabled = true WHERE name = 'bob' RETURNING 1")
      #expect(await Self.remove(test, "alice", by: alice).code == "last_admin")
      _ = try await test.database.query("UPDATE users SET disabled = false WHERE name = 'bob' RETURNING 1")
      #expect(await Self.set(test, "alice", "viewer", by: alice).status == 200)
      // A token for the project alone does not carry the role in the cloud.
      let limited = try await test.makeToken(cloudRole: .admin, limit: ("default", .admin))
      #expect(await Self.remove(test, "bob", by: limited).code == "last_admin")
      #expect(await Self.remove(test, "bob").status == 204)
      #expect(try await Self.members(test) == ["alice": "viewer"])
    }
  }

  @Test("a change that is meant for another version is refused with 412, also when the member was added anew since")
  func conditions() async throws {
    try await TestPlane.with { test async throws in
      _ = try await test.makeToken(name: "alice")
      #expect(await Self.set(test, "alice", "viewer", ["If-Match": "*"]).status == 412)
      let first = ["If-Match": try #require(await Self.set(test, "alice", "viewer").header("ETag"))]
      #expect(await Self.set(test, "alice", "member", first).status == 200)
      #expect(await Self.set(test, "alice", "admin", first).status == 412)
      #expect(await Self.remove(test, "alice", first).status == 412)
      #expect(await Self.remove(test, "alice").status == 204)
      #expect(await Self.set(test, "alice", "viewer").status == 201)
      #expect(await Self.set(test, "alice", "admin", first).status == 412)
      // Without a condition the last one wins.
      #expect(await Self.set(test, "alice", "admin").status == 200)
      #expect(await Self.remove(test, "alice", ["If-Match": "*"]).status == 204)
    }
  }

  @Test("a dry run says what would be and leaves nothing")
  func dryRun() async throws {
    try await TestPlane.with { test async throws in
      let alice = try await test.makeToken(["default": .admin], name: "alice")
      _ = try await test.makeToken(name: "bob")
      let before = try await test.rowCounts()
      let headers = TestPlane.bearer(alice)
      let body: JSONValue = ["role": "member"]
      let added = await test.call(.put, "\(Self.path)/bob?dry_run=true", body, headers: headers)
      #expect(added.status == 200 && added["role"] == "member", "\(added)")
      let demoted = await test.call(.put, "\(Self.path)/alice?dry_run=true", body, headers: headers)
      #expect(demoted.code == "last_admin")
      #expect(await test.call(.put, "\(Self.path)/alice?dry_run=true", body)["role"] == "member")
      #expect(await test.call(.delete, "\(Self.path)/alice?dry_run=true").status == 204)
      #expect(try await test.rowCounts() == before)
      #expect(try await Self.members(test) == ["alice": "admin"])
    }
  }

  @Test("two admins who remove or demote each other at once leave one of them", arguments: [true, false])
  func duel(removing: Bool) async throws {
    try await TestPlane.with(poolSize: 6) { test async throws in
      let (alice, bob) = (
        try await test.makeToken(["default": .admin], name: "alice"),
        try await test.makeToken(["default": .admin], name: "bob")
      )
      for _ in 0..<10 {
        // Both tokens are known to the replica as an admin's.
        for token in [alice, bob] {
          try await eventually("both are admins") {
            await test.call(
              .patch, "/v1/projects/default?dry_run=true", ["name": "x"], headers: TestPlane.bearer(token)
            )
            .status == 200
          }
        }
        async let first =
          removing ? Self.remove(test, "bob", by: alice) : Self.set(test, "bob", "viewer", by: alice)
        async let second =
          removing ? Self.remove(test, "alice", by: bob) : Self.set(test, "alice", "viewer", by: bob)
        let answers = await [first, second]
        #expect(answers.count { $0.status / 100 == 2 } == 1, "\(answers)")
        #expect(answers.contains { $0.status == (removing ? 404 : 403) }, "\(answers)")
        #expect(try await Self.members(test).values.count { $0 == "admin" } == 1)
        for name in ["alice", "bob"] { #expect(await Self.set(test, name, "admin").status / 100 == 2) }
      }
    }
  }

  @Test("two admins who both leave at once: the second stays")
  func bothLeave() async throws {
    try await TestPlane.with(poolSize: 6) { test async throws in
      let tokens = [
        "alice": try await test.makeToken(["default": .admin], name: "alice"),
        "bob": try await test.makeToken(["default": .admin], name: "bob"),
      ]
      let answers = await withTaskGroup(of: Answer.self) { group in
        for (name, token) in tokens { group.addTask { await Self.remove(test, name, by: token) } }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.count { $0.status == 204 } == 1, "\(answers)")
      #expect(answers.count { $0.code == "last_admin" } == 1, "\(answers)")
      #expect(try await Self.members(test).count == 1)
    }
  }

  @Test("an admin who was removed a moment ago cannot come back by what a replica remembers")
  func comeBack() async throws {
    try await TestPlane.with { test async throws in
      let alice = try await test.makeToken(["default": .admin], name: "alice")
      let body: JSONValue = ["role": "admin"]
      // The replica learns alice's roles, and alice is removed behind its back.
      #expect(await test.call(.get, Self.path, headers: TestPlane.bearer(alice)).status == 200)
      _ = try await test.database.query("DELETE FROM project_members RETURNING 1")
      let answer = await test.call(.put, "\(Self.path)/alice", body, headers: TestPlane.bearer(alice))
      #expect(answer.status == 404, "\(answer)")
      #expect(try await Self.members(test) == [:])
    }
  }

  @Test("changes of one member at once follow one another; of those that name the same version one succeeds")
  func sameMember() async throws {
    try await TestPlane.with(poolSize: 8) { test async throws in
      _ = try await test.makeToken(name: "alice")
      let etag = try #require(await Self.set(test, "alice", "viewer").header("ETag"))
      let answers = await withTaskGroup(of: Answer.self) { group in
        for number in 0..<8 {
          let role = number % 2 == 0 ? "member" : "admin"
          group.addTask { await Self.set(test, "alice", role, ["If-Match": etag]) }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.count { $0.status == 200 } == 1, "\(answers)")
      #expect(answers.count { $0.code == "precondition_failed" } == 7, "\(answers)")
    }
  }
}
