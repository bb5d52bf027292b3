import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("What was asked for once")
struct RequestLifetimeTests {
  private func withRunningVM(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.settle()
      try await body(test, agent)
    }
  }

  /// Lets the deadline of everything that is open pass.
  private func passDeadlines(_ test: TestPlane) async throws {
    try await test.database.execute(
      "UPDATE operations SET deadline = aloft_now() - interval '1 second' WHERE finished_at IS NULL")
    try await test.database.execute("UPDATE work SET due_at = aloft_now()")
    try await test.settle()
  }

  @Test("a reboot that was reported as failed is withdrawn from the agent, and a late report of it changes nothing")
  func withdrawn() async throws {
    try await withRunningVM { test, agent async throws in
      let reboot = try Accepted(await test.call(.post, "/v1/vms/web/reboot"))
      let asked = try #require(try await agent.poll().first)
      #expect(asked.requests.count == 1)
      try await passDeadlines(test)
      #expect(await test.operation(reboot.operation)["error"]?["code"] == "deadline_exceeded")
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["state"] == "running", "\(vm)")
      #expect(vm["operation"] == .null)
      #expect(vm.header("ETag") == reboot.etag, "what users asked for is as it was")
      let withdrawn = try #require(try await agent.poll().first, "the agent is told")
      #expect(withdrawn.vm == asked.vm)
      #expect(withdrawn.requests == [])
      let events = try await test.eventKinds(asked.vm.uuid).count

      try await agent.see(asked, .running, completed: asked.requests.map(\.id))
      try await test.settle()
      #expect(await test.operation(reboot.operation)["status"] == "failed")
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "running")
      #expect(try await test.eventKinds(asked.vm.uuid).count == events)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a reboot that a stop overtook is not carried out behind it, and other requests stay")
  func overtaken() async throws {
    try await withRunningVM { test, agent async throws in
      _ = try Accepted(await test.call(.post, "/v1/vms/web/reboot"))
      _ = try Accepted(await test.call(.post, "/v1/vms/web/stop"))
      try await test.settle()
      #expect(try await agent.poll().first?.requests == [])
      _ = try Accepted(await test.call(.post, "/v1/vms/web/start"))
      let reboot = try Accepted(await test.call(.post, "/v1/vms/web/reboot"))
      try await test.settle()
      #expect(try await agent.poll().first?.requests.count == 1)
      #expect(await test.operation(reboot.operation)["status"] == "running")
      #expect(try await test.findings() == [])
    }
  }

  @Test("a guest that turns itself off ends an open reboot in words of its own")
  func guestPowerOff() async throws {
    try await withRunningVM { test, agent async throws in
      let reboot = try Accepted(await test.call(.post, "/v1/vms/web/reboot"))
      let document = try #require(try await agent.poll().first)
      try await agent.see(document, .stopped, guestStopped: true)
      try await test.settle()
      let ended = await test.operation(reboot.operation)
      #expect(ended["error"]?["code"] == "superseded", "\(ended)")
      let detail = ended["error"]?["detail"]?.stringValue ?? ""
      #expect(detail.contains("turned itself off") && !detail.contains("request"), "\(detail)")
      #expect(try await test.count("SELECT count(*) FROM work") == 0, "nothing is left to be looked at")
      #expect(try await agent.poll().first?.requests == [])
    }
  }

  // MARK: The answer to a change

  @Test("the answer to a change shows the operation of that change, whatever ids other replicas drew")
  func ownOperation() async throws {
    try await withRunningVM { test, agent async throws in
      _ = try Accepted(await test.call(.post, "/v1/vms/web/reboot"))
      // A replica whose clock is ahead.
      try await test.database.execute(
        "UPDATE operations SET id = 'ffffffff-ffff-7fff-bfff-ffffffffffff' WHERE finished_at IS NULL")
      let delete = await test.call(.delete, "/v1/vms/web")
      #expect(delete["operation"]?["kind"] == "vm.delete", "\(delete)")
      let id = try #require(delete["id"]?.stringValue)
      #expect(await test.call(.get, "/v1/vms/\(id)")["operation"]?["kind"] == "vm.delete")
    }
  }

  @Test("a deletion whose operation gave up is asked for anew, also while another operation is open")
  func deleteAgain() async throws {
    try await withRunningVM { test, agent async throws in
      _ = try Accepted(await test.call(.post, "/v1/vms/web/reboot"))
      let first = try Accepted(await test.call(.delete, "/v1/vms/web"))
      try await test.database.execute(
        """
        UPDATE operations SET status = 'failed', error_code = 'deadline_exceeded', finished_at = aloft_now()
         WHERE kind = 'vm.delete'
        """)
      let again = await test.call(.delete, "/v1/vms/\(first.vm)")
      #expect(again["operation"]?["kind"] == "vm.delete", "\(again)")
      #expect(again["operation"]?["id"]?.stringValue != first.operation.description)
      let third = await test.call(.delete, "/v1/vms/\(first.vm)")
      #expect(third["operation"]?["id"] == again["operation"]?["id"], "the deletion under way is the answer")
    }
  }

  // MARK: Waiting behind the commit

  private func stops(in test: TestPlane) async throws -> Bool {
    try await test.count("SELECT count(*) FROM operations WHERE kind = 'vm.stop'") > 0
  }

  @Test("a change that was accepted is answered 202 when the database fails while its end is waited for")
  func databaseFails() async throws {
    try await withRunningVM { test, _ async throws in
      async let answer = test.call(.post, "/v1/vms/web/stop", headers: ["Prefer": "wait=60"])
      try await eventually("the stop is accepted") { try await stops(in: test) }
      try await test.database.execute("ALTER TABLE operations RENAME TO elsewhere")
      let accepted = await answer
      #expect(accepted.status == 202, "\(accepted)")
      #expect(accepted["operation"]?["kind"] == "vm.stop")
    }
  }

  @Test("a change that was accepted is answered 202 when its call is broken off while its end is waited for")
  func brokenOff() async throws {
    try await withRunningVM { test, _ async throws in
      let call = Task { await test.call(.post, "/v1/vms/web/stop", headers: ["Prefer": "wait=60"]) }
      try await eventually("the stop is accepted") { try await stops(in: test) }
      try await eventually("its end is waited for") { test.plane.plane.wakeups.waiting > 0 }
      call.cancel()
      let accepted = await call.value
      #expect(accepted.status == 202, "\(accepted)")
    }
  }
}
