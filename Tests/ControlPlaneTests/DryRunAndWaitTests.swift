import AloftModel
@testable import ControlPlane
import HTTPTypes
import JSON
import Testing

@Suite("Dry run and wait")
struct DryRunAndWaitTests {
  @Test("a dry run answers like the change and leaves nothing")
  func dryRun() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.settle()
      let before = try await test.rowCounts()
      let web = await test.call(.get, "/v1/vms/web")
      let node = await test.call(.get, "/v1/nodes/node-a")
      let calls: [(HTTPRequest.Method, String, JSONValue?, Int)] = [
        (.post, "/v1/vms", TestPlane.body("db"), 200), (.patch, "/v1/vms/web", ["name": "www"], 200),
        (.post, "/v1/vms/web/stop", nil, 200), (.post, "/v1/vms/web/start", nil, 200),
        (.post, "/v1/vms/web/reboot", nil, 200), (.delete, "/v1/vms/web", nil, 200),
        (.post, "/v1/images", ["name": "other"], 200), (.patch, "/v1/images/tiny", ["name": "other"], 200),
        (.post, "/v1/node-tokens", [:], 200), (.patch, "/v1/nodes/node-a", ["schedulable": false], 200),
        (.patch, "/v1/node-pools/default", ["cpu_overcommit": 2], 200),
        (.delete, "/v1/nodes/node-a?force=true", nil, 204),
      ]
      for (method, path, body, status) in calls {
        let target = path + (path.contains("?") ? "&" : "?") + "dry_run=true"
        let headers = path == "/v1/vms" ? ["Idempotency-Key": "dry"] : [:]
        let answer = await test.call(method, target, body, headers: headers)
        #expect(answer.status == status, "\(method) \(path): \(answer)")
      }
      #expect(await test.call(.post, "/v1/vms?dry_run=true", TestPlane.body("web")).code == "name_taken")
      #expect(try await test.rowCounts() == before)
      #expect(await test.call(.get, "/v1/vms/web").json == web.json)
      #expect(await test.call(.get, "/v1/nodes/node-a").json == node.json)
      #expect(try await agent.poll() == [])
      #expect(try await test.findings() == [])
    }
  }

  @Test("every change can be tried by a dry run, and the end of every operation be waited for")
  func everywhere() throws {
    for operation in try Repository.contract.get().operations where ![.get, .head].contains(operation.method) {
      func takes(_ name: String) -> Bool { operation.parameters.contains { $0.name == name } }
      let isLogin = operation.id == "createSession"
      let readsOnly = operation.extensions["x-aloft-read-only"]?.boolValue == true
      #expect(takes("dry_run") || isLogin || readsOnly, "\(operation.id)")
      #expect(takes("Prefer") || !operation.responses.contains { $0.status == .exactly(202) }, "\(operation.id)")
    }
  }

  @Test("a dry run of an upload checks the content and keeps nothing of it")
  func upload() async throws {
    try await TestPlane.with { test async throws in
      #expect(await test.call(.post, "/v1/images", ["name": "x"]).status == 201)
      func put(_ bytes: [UInt8]) async -> Answer {
        await test.send(
          .put, "/v1/images/x/content?dry_run=true", bytes: bytes,
          headers: ["Authorization": "Bearer \(test.token)", "Content-Type": "application/octet-stream"])
      }
      #expect(await put([UInt8](repeating: 7, count: 1024))["state"] == "ready")
      #expect(await put([0x1F, 0x8B, 8, 0]).code == "image_invalid")
      #expect(await test.call(.get, "/v1/images/x")["state"] == "awaiting_upload")
      #expect(try await test.files.list().isEmpty)
    }
  }

  @Test("Prefer: wait answers 200 with the running VM when its agent reports meanwhile")
  func wait() async throws {
    try await TestPlane.with(background: true, poolSize: 5) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      async let answer = test.call(.post, "/v1/vms", TestPlane.body("web"), headers: ["Prefer": "wait=60"])
      _ = try await agent.obey(wait: 60)
      let created = await answer
      #expect(created.status == 200, "\(created)")
      #expect(created["state"] == "running")
      #expect(created["operation"]?["status"] == "succeeded")
      #expect(created.header("Preference-Applied") == "wait=60")

      async let deletion = test.call(.delete, "/v1/vms/web", headers: ["Prefer": "wait=60"])
      // A document that changed while it was read comes twice: the first may be the create's.
      let documents = try await agent.obey(wait: 60)
      if !documents.contains(where: \.deleted) { try await agent.obey(wait: 60) }
      let deleted = await deletion
      #expect(deleted.status == 200, "\(deleted)")
      #expect(deleted["operation"]?["status"] == "succeeded")
      #expect(await test.call(.get, "/v1/vms/web").code == "not_found")
    }
  }

  @Test("Prefer: wait answers 202 when its time is over")
  func waitOver() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      let answer = await test.call(.post, "/v1/vms", TestPlane.body("web"), headers: ["Prefer": "wait=1"])
      #expect(answer.status == 202, "\(answer)")
    }
  }

  @Test("a retry with the same key waits as the first try would have, and answers 200 when the operation has ended")
  func retryWaits() async throws {
    try await TestPlane.with(background: true, poolSize: 5) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let first = await test.call(.post, "/v1/vms", TestPlane.body("web"), headers: ["Idempotency-Key": "k"])
      #expect(first.status == 202)
      async let answer = test.call(
        .post, "/v1/vms", TestPlane.body("web"), headers: ["Idempotency-Key": "k", "Prefer": "wait=60"])
      _ = try await agent.obey(wait: 60)
      let retried = await answer
      #expect(retried.status == 200, "\(retried)")
      #expect(retried["id"] == first["id"])
      #expect(retried["operation"]?["id"] == first["operation"]?["id"])
      #expect(retried["operation"]?["status"] == "succeeded")
    }
  }

  @Test("a wait on an operation ends with it")
  func operationWait() async throws {
    try await TestPlane.with(background: true, poolSize: 5) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let accepted = try await test.createVM("web")
      async let answer = test.call(.get, "/v1/operations/\(accepted.operation)?wait=60")
      try await agent.obey()
      #expect(await answer["status"] == "succeeded")
    }
  }
}
