import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Deleting a project with all that it holds")
struct ProjectRemovalTests {
  /// VMs on three nodes and images in `default`, some of them being deleted or without content.
  private func fill(_ test: TestPlane) async throws -> [FakeAgent] {
    try await test.makeImage()
    _ = await test.call(.post, "/v1/images", ["name": "empty"])
    var agents: [FakeAgent] = []
    for name in ["node-a", "node-b", "node-c"] { agents.append(try await FakeAgent.join(test, name)) }
    for number in 0..<7 { _ = try await test.createVM("vm-\(number)") }
    _ = await test.call(.delete, "/v1/vms/vm-3")
    _ = await test.call(.post, "/v1/webhooks", ["name": "hook", "url": "https://example.com", "events": ["vm.*"]])
    return agents
  }

  private func remove(_ test: TestPlane, _ more: String = "") async -> Answer {
    await test.call(.delete, "/v1/projects/default?cascade=true\(more)")
  }

  @Test("its VMs go by operations of their own, then its images with their files, then the project; nothing is left")
  func removal() async throws {
    try await TestPlane.with { test async throws in
      let agents = try await fill(test)
      _ = await test.call(.post, "/v1/tokens", ["project": "default", "role": "viewer"])
      #expect(await test.call(.delete, "/v1/projects/default").code == "in_use")
      let accepted = await remove(test)
      #expect(accepted.status == 202 && accepted["state"] == "deleting", "\(accepted)")
      #expect(accepted["operation"]?["kind"] == "project.delete" && accepted["operation"]?["status"] == "queued")
      #expect(await remove(test)["operation"] == accepted["operation"], "the one under way is the answer")
      let id = try #require(accepted["id"]?.stringValue.flatMap { ProjectID($0) })
      let operation = try #require(accepted["operation"]?["id"]?.stringValue)
      try await test.settle()
      let waiting = await test.call(.get, "/v1/operations/\(operation)")
      #expect(waiting["waiting_for"] == "7 VMs to be removed by their nodes", "\(waiting)")
      #expect(await test.call(.get, "/v1/operations?resource=\(id)")["items"]?[0]?["id"]?.stringValue == operation)
      #expect(try await test.findings() == [])
      for agent in agents {
        try await agent.obey()
        try await test.settle()
      }
      #expect(await test.call(.get, "/v1/operations/\(operation)")["status"] == "succeeded")
      #expect(await test.call(.get, "/v1/projects/default").status == 404)
      for table in ["vms", "images", "claims", "projects", "project_usage", "webhooks", "work"] as [SQL] {
        #expect(try await test.count("SELECT count(*) FROM \(fragment: table)") == 0, "\(table)")
      }
      #expect(try await test.files.list().isEmpty)
      #expect(
        try await test.count("SELECT count(*) FROM operations WHERE kind = 'vm.delete' AND status = 'succeeded'") == 7)
      let events = try await test.eventKinds(id.uuid)
      #expect(events == ["project.deleted"], "\(events)")
      #expect(try await test.findings() == [])
    }
  }

  @Test("nothing comes into a project that is being deleted, and every refusal says why")
  func closed() async throws {
    try await TestPlane.with { test async throws in
      _ = try await fill(test)
      #expect(await remove(test, "&dry_run=true").status == 200)
      _ = try await test.createVM("still")
      #expect(await remove(test).status == 202)
      let attempts: [(String, JSONValue)] = [
        ("vms", TestPlane.body("late")), ("images", ["name": "late"]),
        ("tokens", ["project": "default", "role": "viewer"]),
      ]
      for (noun, body) in attempts {
        let refused = await test.call(.post, "/v1/\(noun)", body)
        #expect(refused.status == 409 && refused.code == "wrong_state", "\(noun): \(refused)")
      }
      #expect(await test.upload([UInt8](repeating: 1, count: 512), to: "empty").code == "wrong_state")
    }
  }

  @Test("what is made at the same moment is either deleted too or refused")
  func race() async throws {
    try await TestPlane.with(background: true, poolSize: 12) { test async throws in
      let agents = try await fill(test)
      let other = try test.replica()
      let answers = await withTaskGroup(of: Answer?.self) { group in
        for number in 0..<30 {
          group.addTask {
            await test.call(
              .post, "/v1/vms", TestPlane.body("more-\(number)"), on: number % 2 == 0 ? test.plane : other)
          }
        }
        group.addTask {
          #expect(await remove(test).status == 202)
          return nil
        }
        return await group.reduce(into: [Answer]()) { list, answer in if let answer { list.append(answer) } }
      }
      #expect(answers.allSatisfy { $0.status == 202 || $0.code == "wrong_state" })
      try await eventually("the project is gone", within: .seconds(60)) {
        for agent in agents { try await agent.obey() }
        return await test.call(.get, "/v1/projects/default").status == 404
      }
      #expect(try await test.count("SELECT count(*) FROM vms") == 0)
      #expect(try await test.findings() == [])
    }
  }

  @Test("when it gives up at its deadline it says what is left, and the project is as others are")
  func deadline() async throws {
    try await TestPlane.with { test async throws in
      let agents = try await fill(test)
      let operation = try #require(await remove(test)["operation"]?["id"]?.stringValue)
      try await test.settle()
      try await test.database.execute(
        "UPDATE operations SET deadline = aloft_now() - interval '1 second' WHERE kind = 'project.delete'")
      try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'project'")
      try await test.settle()
      let ended = await test.call(.get, "/v1/operations/\(operation)")
      #expect(ended["error"]?["code"] == "deadline_exceeded", "\(ended)")
      #expect(ended["error"]?["detail"]?.stringValue?.contains("7 VMs that are being deleted") == true)
      #expect(await test.call(.get, "/v1/projects/default")["state"] == "active")
      #expect(await test.call(.post, "/v1/images", ["name": "late"]).status == 201)
      for agent in agents { try await agent.obey() }
      try await test.settle()
      #expect(await remove(test).status == 202)
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/default").status == 404)
      #expect(try await test.findings() == [])
    }
  }

  @Test("who may delete empty projects only may not delete what others have made")
  func access() async throws {
    try await TestPlane.with { test async throws in
      let `operator` = TestPlane.bearer(try await test.makeToken(cloudRole: .operator))
      #expect(
        await test.call(.delete, "/v1/projects/default?cascade=true", headers: `operator`).code == "forbidden")
      #expect(await test.call(.delete, "/v1/projects/default?dry_run=true", headers: `operator`).status == 204)
    }
  }

  @Test("Prefer: wait answers when the project is gone")
  func waiting() async throws {
    try await TestPlane.with(background: true) { test async throws in
      try await test.makeImage()
      let answer = await test.call(.delete, "/v1/projects/default?cascade=true", headers: ["Prefer": "wait=30"])
      #expect(answer.status == 200 && answer["operation"]?["status"] == "succeeded", "\(answer)")
      #expect(try await test.files.list().isEmpty)
    }
  }
}
