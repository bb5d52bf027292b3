import AloftModel
import Foundation
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Projects")
struct ProjectTests {
  private static func create(_ test: TestPlane, _ name: String) async throws -> ProjectID {
    let answer = await test.call(.post, "/v1/projects", ["name": .string(name)])
    try #require(answer.status == 201, "\(answer)")
    return try #require(answer["id"]?.stringValue.flatMap { ProjectID($0) })
  }

  @Test("a project is made, shown, renamed and deleted, by id and by name, and each is told and audited")
  func lifecycle() async throws {
    try await TestPlane.with { test async throws in
      let created = await test.call(.post, "/v1/projects", ["name": "shop"])
      #expect(created.status == 201, "\(created)")
      let id = try #require(created["id"]?.stringValue.flatMap { ProjectID($0) })
      #expect(created.header("Location") == "/v1/projects/\(id)")
      #expect(await test.call(.get, "/v1/projects/shop").json == created.json)
      #expect(await test.call(.get, "/v1/projects/\(id)").header("ETag") == created.header("ETag"))

      let renamed = await test.call(.patch, "/v1/projects/shop", ["name": "store"])
      #expect(renamed.status == 200, "\(renamed)")
      #expect(renamed["name"] == "store")
      #expect(renamed.header("ETag") != created.header("ETag"))
      #expect(await test.call(.get, "/v1/projects/shop").status == 404)
      #expect(await test.call(.post, "/v1/images?project=store", ["name": "x"])["project_id"] == created["id"])
      #expect(await test.call(.delete, "/v1/images/x?project=\(id)").status == 204)

      #expect(await test.call(.delete, "/v1/projects/\(id)").status == 204)
      #expect(await test.call(.get, "/v1/projects/\(id)").code == "not_found")
      #expect(await test.call(.delete, "/v1/projects/\(id)").code == "not_found")
      #expect(try await test.eventKinds(id.uuid) == ["project.created", "project.updated", "project.deleted"])
      let audited = try await test.database.query(
        "SELECT operation FROM audit WHERE resource_id = \(id) AND project_id = \(id) ORDER BY id"
      ).map { try $0.get(0, as: String.self) }
      #expect(audited == ["createProject", "updateProject", "deleteProject"])
    }
  }

  @Test(
    "a name is taken once; a project's own name is no conflict, and a name is free again after a rename or a deletion")
  func names() async throws {
    try await TestPlane.with { test async throws in
      _ = try await Self.create(test, "shop")
      let again = await test.call(.post, "/v1/projects", ["name": "shop"])
      #expect(again.status == 409)
      #expect(again.code == "name_taken")
      #expect(again.place == "/name")
      #expect(await test.call(.patch, "/v1/projects/default", ["name": "shop"]).code == "name_taken")
      #expect(await test.call(.patch, "/v1/projects/shop", ["name": "shop"]).status == 200)
      #expect(await test.call(.patch, "/v1/projects/shop", ["name": "store"]).status == 200)
      _ = try await Self.create(test, "shop")
      #expect(await test.call(.delete, "/v1/projects/store").status == 204)
      _ = try await Self.create(test, "store")
      for bad in ["Shop", "-shop", "shop-", "prj_01h455vb4pex5vsknk084sn02q", ""] {
        #expect(await test.call(.post, "/v1/projects", ["name": .string(bad)]).status == 400, "\(bad)")
      }
    }
  }

  @Test("an id of another kind names no project")
  func otherIDs() async throws {
    try await TestPlane.with { test async throws in
      let user = UserID(try #require(UUID(uuidString: "01900000-0000-7000-8000-000000000003")))
      for reference in [user.description, "prj_01h455vb4pex5vsknk084sn02q", "prj_x"] {
        #expect(await test.call(.get, "/v1/projects/\(reference)").code == "not_found", "\(reference)")
        #expect(await test.call(.delete, "/v1/projects/\(reference)").code == "not_found", "\(reference)")
      }
    }
  }

  @Test("a change that is meant for another version is refused with 412")
  func conditions() async throws {
    try await TestPlane.with { test async throws in
      let etag = try #require(await test.call(.post, "/v1/projects", ["name": "shop"]).header("ETag"))
      let match = ["If-Match": etag]
      #expect(await test.call(.patch, "/v1/projects/shop", ["name": "store"], headers: match).status == 200)
      #expect(await test.call(.patch, "/v1/projects/store", ["name": "x"], headers: match).status == 412)
      #expect(await test.call(.delete, "/v1/projects/store", headers: match).status == 412)
      let now = try #require(await test.call(.get, "/v1/projects/store").header("ETag"))
      #expect(await test.call(.delete, "/v1/projects/store", headers: ["If-Match": now]).status == 204)
    }
  }

  @Test("a create that is repeated with its key makes one project, also after that was deleted")
  func idempotency() async throws {
    try await TestPlane.with { test async throws in
      let key = ["Idempotency-Key": "once"]
      let first = await test.call(.post, "/v1/projects", ["name": "shop"], headers: key)
      let second = await test.call(.post, "/v1/projects", ["name": "shop"], headers: key)
      #expect(first.status == 201 && second.status == 201, "\(second)")
      #expect(first.bytes == second.bytes)
      #expect(await test.call(.delete, "/v1/projects/shop").status == 204)
      #expect(await test.call(.post, "/v1/projects", ["name": "shop"], headers: key).bytes == first.bytes)
      #expect(try await test.count("SELECT count(*) FROM projects") == 1)
    }
  }

  @Test("a dry run says what would be and leaves nothing")
  func dryRun() async throws {
    try await TestPlane.with { test async throws in
      _ = try await Self.create(test, "shop")
      let before = try await test.rowCounts()
      let shop = await test.call(.get, "/v1/projects/shop")
      #expect(await test.call(.post, "/v1/projects?dry_run=true", ["name": "other"]).status == 200)
      #expect(await test.call(.post, "/v1/projects?dry_run=true", ["name": "shop"]).code == "name_taken")
      #expect(await test.call(.patch, "/v1/projects/shop?dry_run=true", ["name": "store"])["name"] == "store")
      #expect(await test.call(.delete, "/v1/projects/shop?dry_run=true").status == 204)
      #expect(try await test.rowCounts() == before)
      #expect(await test.call(.get, "/v1/projects/shop").json == shop.json)
    }
  }

  @Test("a project that holds something is not deleted, and the refusal counts what it holds")
  func inUse() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      func refusal() async -> String {
        let answer = await test.call(.delete, "/v1/projects/default")
        #expect(answer.status == 409 && answer.code == "in_use", "\(answer)")
        return answer["detail"]?.stringValue ?? ""
      }
      #expect(await refusal().contains(" holds 1 VM, 1 image, 1 open operation;"))
      try await agent.obey()
      try await test.settle()
      #expect(await refusal().contains(" holds 1 VM, 1 image;"))
      #expect(await test.call(.delete, "/v1/vms/web").status == 202)
      #expect(await refusal().contains(" holds 1 VM that is being deleted, 1 image, 1 open operation;"))
      try await agent.obey()
      try await test.settle()
      #expect(await refusal().contains(" holds 1 image;"))
      #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
      #expect(await test.call(.delete, "/v1/projects/default").status == 204)
      #expect(try await test.findings() == [])
    }
  }

  @Test("without a project named default, a call that names none is answered 404; what had happened in it stays")
  func withoutDefault() async throws {
    try await TestPlane.with { test async throws in
      let id = try #require(await test.call(.get, "/v1/projects/default")["id"]?.stringValue.flatMap { ProjectID($0) })
      _ = await test.call(.post, "/v1/images", ["name": "x"])
      _ = await test.call(.delete, "/v1/images/x")
      let member = TestPlane.bearer(try await test.makeToken(["default": .admin]))
      let limited = TestPlane.bearer(try await test.makeToken(cloudRole: .admin, limit: ("default", .admin)))
      #expect(await test.call(.delete, "/v1/projects/default").status == 204)
      for path in ["vms", "images", "operations", "events"] {
        #expect(await test.call(.get, "/v1/\(path)").code == "not_found", "\(path)")
      }
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("web")).code == "not_found")
      #expect(await test.call(.post, "/v1/images", ["name": "x"], headers: member).code == "not_found")
      try await eventually("a token for that project alone is gone with it") {
        await test.call(.get, "/v1/vms", headers: limited).code == "token_invalid"
      }
      #expect(try await test.count("SELECT count(*) FROM project_members") == 0)
      #expect(try await test.count("SELECT count(*) FROM events WHERE project_id = \(id)") == 2)
      #expect(try await test.count("SELECT count(*) FROM audit WHERE project_id = \(id)") == 3)
    }
  }

  @Test("the readers of cloud events hear of projects that come and go, the readers of a project of its new name")
  func events() async throws {
    try await TestPlane.with { test async throws in
      let reader = TestPlane.bearer(try await test.makeToken(["default": .viewer]))
      let id = try await Self.create(test, "shop")
      _ = await test.call(.patch, "/v1/projects/shop", ["name": "store"])
      _ = await test.call(.patch, "/v1/projects/default", ["name": "home"])
      let page = try await test.firstEvents(3)
      #expect(page.map(\.kind) == ["project.created", "project.updated", "project.updated"])
      #expect(page.map { $0.projectID != nil } == [false, true, true])
      let text = String(decoding: page[0].jsonBytes, as: UTF8.self)
      #expect(text.contains("\"resource_id\":\"\(id)\""))
      try await eventually("the new name is known") {
        await test.call(.get, "/v1/vms?project=home", headers: reader).status == 200
      }
    }
  }
}
