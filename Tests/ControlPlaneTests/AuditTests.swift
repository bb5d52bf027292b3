import AloftModel
import Foundation
import HTTP
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Audit")
struct AuditTests {
  /// The lines as text, newest first: operation, outcome or reason, user.
  private static func lines(_ answer: Answer) -> [String] {
    (answer["items"]?.arrayValue ?? []).map { item in
      let refusal = item["refusal"]?.stringValue ?? item["outcome"]?.stringValue ?? ""
      return "\(item["operation"]?.stringValue ?? "") \(refusal)"
    }
  }

  @Test("who did what, by which token, from where, and what was asked is told, newest first, and secrets are not")
  func listed() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      let member = TestPlane.bearer(try await test.makeToken(["default": .member]))
      let body = TestPlane.body("web", ("user_data", "#cloud-config\npassword: hunter2"), ("labels", ["tier": "web"]))
      let created = await test.call(
        .post, "/v1/vms", body, headers: member.merging(["X-Request-Id": "req-create"]) { $1 })
      #expect(created.status == 202)
      let answer = await test.call(.get, "/v1/audit?limit=1")
      let record = try #require(answer["items"]?[0])
      #expect(record["operation"]?.stringValue == "createVM" && record["outcome"]?.stringValue == "accepted")
      #expect(record["resource_id"] == created["id"] && record["project_id"] == created["project_id"])
      #expect(record["user_name"]?.stringValue?.hasPrefix("u-") == true)
      #expect(record["user_id"]?.stringValue?.hasPrefix("usr_") == true)
      #expect(record["token_id"]?.stringValue?.hasPrefix("tok_") == true)
      #expect(record["peer"]?.stringValue == "127.0.0.1" && record["request_id"]?.stringValue == "req-create")
      #expect(record["request"]?["labels"]?["tier"]?.stringValue == "web")
      #expect(record["request"]?["user_data"]?.stringValue == "***")
      #expect(try await test.count("SELECT count(*) FROM audit WHERE request::text LIKE '%hunter2%'") == 0)

      let next = try #require(answer["next_cursor"]?.stringValue)
      let rest = await test.call(.get, "/v1/audit?cursor=\(next)")
      #expect(
        Self.lines(rest) == [
          "joinNode accepted", "createNodeToken accepted", "uploadImage accepted", "createImage accepted",
        ])
    }
  }

  @Test("what a known caller is refused is recorded; strangers and requests that are not understood leave nothing")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("elsewhere")
      let viewer = TestPlane.bearer(try await test.makeToken(["default": .viewer]))
      #expect(await test.call(.post, "/v1/images", ["name": "x"], headers: viewer).status == 403)
      #expect(await test.call(.post, "/v1/images?project=elsewhere", ["name": "x"], headers: viewer).status == 404)
      #expect(await test.call(.post, "/v1/images?dry_run=true", ["name": "x"]).status == 200)
      #expect(await test.call(.post, "/v1/images", ["name": 5]).status == 400)
      #expect(await test.call(.get, "/v1/nodes", headers: viewer).status == 403)
      #expect(await test.send(.post, "/v1/images").status == 401)
      #expect(await test.send(.post, "/v1/images", headers: TestPlane.bearer("aloft_0")).status == 401)
      #expect(await test.call(.delete, "/v1/images/nothing").status == 404)
      #expect(await test.call(.post, "/v1/images", ["name": "x"]).status == 201)
      #expect(await test.call(.post, "/v1/images", ["name": "x"]).status == 409)
      try await test.plane.stepRefusals()
      let all = await test.call(.get, "/v1/audit")
      #expect(
        Self.lines(all) == [
          "createImage name_taken", "deleteImage not_found", "createImage not_found", "createImage forbidden",
          "createImage accepted",
        ])
      // The attempt on a project is told to its admin, who was not told to whoever tried.
      let owner = TestPlane.bearer(try await test.makeToken(["elsewhere": .admin]))
      let told = await test.call(.get, "/v1/projects/elsewhere/audit", headers: owner)
      #expect(Self.lines(told) == ["createImage not_found"])
    }
  }

  @Test("what was refused while the database was away, or just before the end, is recorded all the same")
  func later() async throws {
    try await TestPlane.with { test async throws in
      #expect(await test.call(.delete, "/v1/images/a").status == 404)
      try await test.database.execute("ALTER TABLE audit RENAME TO hidden")
      await #expect(throws: (any Error).self) { try await test.plane.stepRefusals() }
      #expect(await test.call(.delete, "/v1/images/b").status == 404)
      try await test.database.execute("ALTER TABLE hidden RENAME TO audit")
      let running = Task { await test.plane.run() }
      running.cancel()
      await running.value
      #expect(Self.lines(await test.call(.get, "/v1/audit")) == ["deleteImage not_found", "deleteImage not_found"])
    }
  }

  @Test("filters keep what they say, alone and together")
  func filters() async throws {
    try await TestPlane.with { test async throws in
      let image = await test.call(.post, "/v1/images", ["name": "one"])
      _ = await test.call(.post, "/v1/images", ["name": "one"])
      _ = await test.call(.post, "/v1/node-tokens", JSONValue.object([:]))
      try await test.plane.stepRefusals()
      let id = try #require(image["id"]?.stringValue)
      func lines(_ query: String) async -> [String] { Self.lines(await test.call(.get, "/v1/audit?\(query)")) }
      #expect(await lines("resource=\(id)") == ["createImage accepted"])
      #expect(await lines("operation=createNodeToken") == ["createNodeToken accepted"])
      #expect(await lines("outcome=refused") == ["createImage name_taken"])
      #expect(await lines("user=root&outcome=accepted").count == 2)
      #expect(await lines("user=nobody").isEmpty)
      #expect(await lines("since=2100-01-01T00:00:00Z").isEmpty)
      #expect(await lines("until=2100-01-01T00:00:00Z").count == 3)
      #expect(await test.call(.get, "/v1/audit?since=yesterday").status == 400)
    }
  }

  @Test("the export has every record once, oldest first, one JSON object in each line")
  func export() async throws {
    try await TestPlane.with { test async throws in
      for index in 0..<30 { _ = await test.call(.post, "/v1/images", ["name": .string("i\(index)")]) }
      try await test.withServer { reach async throws in
        let answer = try await reach.client.send(
          test.request("/v1/audit/export?operation=createImage", of: reach), deadline: .seconds(60))
        let lines = try String(decoding: answer.body, as: UTF8.self).split(separator: "\n").map {
          try JSONValue.parse(Array($0.utf8))
        }
        #expect(lines.map { $0["request"]?["name"]?.stringValue } == (0..<30).map { "i\($0)" })
      }
    }
  }

  @Test("of every operation that changes something the audit can name what it changes")
  func names() throws {
    let changes = try Repository.contract.get().operations.filter {
      $0.method != .get && $0.extensions["x-aloft-read-only"]?.boolValue != true
    }
    #expect(changes.count > 15)
    for operation in changes {
      #expect(AuditRecord.name(UUID(), changedBy: operation.id).contains("_"), "\(operation.id)")
    }
  }
}
