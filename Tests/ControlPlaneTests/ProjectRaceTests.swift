import AloftModel
import Foundation
import HTTPClient
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

/// Projects that are deleted while something comes into them, and names that move while a token is remembered.
@Suite("Projects under way")
struct ProjectRaceTests {
  /// Until some statement that holds `fragment` waits for a lock.
  private func waiting(_ test: TestPlane, _ fragment: String) async throws {
    try await eventually("a statement waits for a lock: \(fragment)") {
      try await test.count(
        """
        SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND position(\(fragment) IN query) > 0
        """) > 0
    }
  }

  @Test("an image that comes into a project while that is deleted is refused as if the project had never been")
  func imageIntoDeleted() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeProjectRow("shop")
      let answer = try await test.holding("DELETE FROM projects WHERE name = 'shop' RETURNING 1") {
        let creation = Task { await test.call(.post, "/v1/images?project=shop", ["name": "x"]) }
        try await waiting(test, "INSERT INTO images")
        return creation
      }
      let refused = await answer.value
      #expect(refused.status == 404, "\(refused)")
      #expect(refused["detail"]?.stringValue?.hasPrefix("there is no project") == true)
      #expect(try await test.count("SELECT count(*) FROM images") == 0)
    }
  }

  @Test("a VM that comes into a project while that is deleted is refused as if the project had never been")
  func vmIntoDeleted() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      // The create has found its image and waits for its node, while image and project go.
      let answer = try await test.holding("SELECT 1 FROM nodes FOR UPDATE") {
        let creation = Task { await test.call(.post, "/v1/vms", TestPlane.body("web")) }
        try await waiting(test, "UPDATE nodes")
        #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
        #expect(await test.call(.delete, "/v1/projects/default").status == 204)
        return creation
      }
      let refused = await answer.value
      #expect(refused.status == 404, "\(refused)")
      #expect(refused["detail"]?.stringValue?.hasPrefix("there is no project") == true)
      #expect(try await test.count("SELECT count(*) FROM vms") == 0)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a deletion waits for what is coming into the project, and then refuses")
  func deletionWaits() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let answer = try await test.holding(
        """
        INSERT INTO images (id, project_id, name, architecture)
        SELECT \(UUID()), id, 'x', 'x86_64' FROM projects RETURNING 1
        """
      ) {
        let deletion = Task { await test.call(.delete, "/v1/projects/default") }
        try await waiting(test, "FROM projects")
        return deletion
      }
      let refused = await answer.value
      #expect(refused.code == "in_use", "\(refused)")
      #expect(refused["detail"]?.stringValue?.contains("holds 1 image;") == true)
    }
  }

  @Test("of a deletion and a create at once exactly one happens")
  func storm() async throws {
    try await TestPlane.with(poolSize: 12) { test async throws in
      let names = (0..<24).map { "p-\($0)" }
      for name in names { try await test.makeProjectRow(name) }
      let outcomes = await withTaskGroup(of: (Answer, Answer).self) { group in
        for name in names {
          group.addTask {
            async let creation = test.call(.post, "/v1/images?project=\(name)", ["name": "x"])
            async let deletion = test.call(.delete, "/v1/projects/\(name)")
            return await (creation, deletion)
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      for (creation, deletion) in outcomes {
        switch (creation.status, deletion.status) {
        case (201, 409): #expect(deletion.code == "in_use")
        case (404, 204): #expect(creation.code == "not_found")
        default: Issue.record("\(creation), \(deletion)")
        }
      }
    }
  }

  @Test("of many creates with one name one succeeds, and the others hear that it is taken")
  func oneName() async throws {
    try await TestPlane.with(poolSize: 8) { test async throws in
      let answers = await withTaskGroup(of: Answer.self) { group in
        for _ in 0..<12 { group.addTask { await test.call(.post, "/v1/projects", ["name": "shop"]) } }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.count { $0.status == 201 } == 1)
      #expect(answers.count { $0.code == "name_taken" } == 11)
    }
  }

  @Test("a remembered role in a project does not follow its old name to another project")
  func movedName() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("mine")
      let token = try await test.makeToken(["mine": .admin])
      let now = Date()
      let still = Environment(now: { now }, random: Environment.live.random, sleep: Environment.live.sleep)
      let authorizer = Authorizer(
        tokens: TokenCache(database: test.database, environment: still, logger: quiet),
        rates: RateLimiter(nil, environment: still), admission: .asDeclared)
      let requirement = Authorizer.Requirement(
        permission: .vmWrite, credentials: Credentials(authorization: "Bearer \(token)"), project: "mine")
      _ = try await authorizer.admit(requirement)
      _ = try await test.database.query("UPDATE projects SET name = 'was-mine' WHERE name = 'mine' RETURNING 1")
      try await test.makeProjectRow("mine")
      // What is remembered says "mine", and means the project that had the name then.
      let principal = try await authorizer.admit(requirement)
      let meant = try #require(ProjectID(principal.projectReference("mine")))
      #expect(try await test.count("SELECT count(*) FROM projects WHERE id = \(meant) AND name = 'was-mine'") == 1)
    }
  }

  @Test("a stream of events goes on under its project's new name, and ends when the reader is put out of the project")
  func stream() async throws {
    try await TestPlane.with(background: true, poolSize: 6) { test async throws in
      try await test.withServer { reach async throws in
        try await test.makeProjectRow("other")
        let token = try await test.makeToken(["default": .viewer, "other": .admin], name: "alice")
        var request = test.request("/v1/events", of: reach)
        request.headers[.authorization] = "Bearer \(token)"
        var events = try await reach.client.events(request).makeAsyncIterator()
        #expect(try await events.next()?.event == "position")
        #expect(await test.call(.patch, "/v1/projects/default", ["name": "home"]).status == 200)
        #expect(try await events.next()?.event == "project.updated")
        #expect(await test.call(.patch, "/v1/projects/other", ["name": "default"]).status == 200)
        #expect(await test.call(.delete, "/v1/projects/home/members/alice").status == 204)
        var kinds: [String] = []
        await #expect(throws: HTTPClientError.self) {
          while let event = try await events.next() { kinds.append(event.event) }
        }
        #expect(Set(kinds).isSubset(of: ["member.removed", "position"]), "\(kinds)")
      }
    }
  }
}
