import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres
import Testing

@testable import ControlPlane

@Suite("What agents send")
struct AgentInputTests {
  private static let report: JSONObject = [
    "architecture": "x86_64", "accelerator": "kvm", "vcpus": 8, "memory_mib": 4096, "disk_gib": 50, "facts": [:],
  ]

  private static func report(_ key: String, _ value: JSONValue) -> JSONValue {
    var report = report
    report[key] = value
    return .object(report)
  }

  private static func facts(_ count: Int) -> JSONValue {
    var facts = JSONObject()
    for number in 0..<count { facts["fact-\(number)"] = "x" }
    return .object(facts)
  }

  private static let badReports: [(String, JSONValue, String)] = [
    ("vcpus", 99_999_999_999, "/vcpus"), ("vcpus", -1, "/vcpus"),
    ("memory_mib", .integer(.max), "/memory_mib"), ("disk_gib", -5, "/disk_gib"),
    ("architecture", "x86\u{0}64", "/architecture"), ("architecture", "", "/architecture"),
    ("facts", ["kernel": "6\u{0}1"], "/facts/kernel"), ("facts", ["a\u{0}b": "x"], "/facts"),
    ("facts", facts(1000), "/facts"),
    ("orphans", .array(Array(repeating: "x", count: 1000)), "/orphans"), ("orphans", ["a\u{0}b"], "/orphans"),
    ("facts", ["kernel": .string(String(repeating: "k", count: 5000))], "/facts/kernel"),
    ("accelerator", "abacus", "/accelerator"),
  ]

  @Test("a node's report that cannot be true is refused with its place, and changes nothing")
  func reports() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      for (key, value, place) in Self.badReports {
        let answer = await agent.send(.put, "node", bytes: Self.report(key, value).bytes)
        #expect(answer.status == 400, "\(key): \(answer)")
        #expect(answer.place == place, "\(key): \(answer)")
      }
      #expect(await test.call(.get, "/v1/nodes/node-a")["capacity"]?["vcpus"] == 16)
      #expect(await agent.send(.put, "node", bytes: JSONValue.object(Self.report).bytes).status == 200)
    }
  }

  @Test("a join is checked the same way, and its token stays good")
  func joins() async throws {
    try await TestPlane.with { test async throws in
      let secret = try #require(await test.call(.post, "/v1/node-tokens", [:])["secret"]?.stringValue)
      let request = try FakeAgent.certificateRequest()
      for (key, value, place) in Self.badReports {
        let body: JSONValue = [
          "token": .string(secret), "name": "node-a", "certificate_request": .string(request),
          "report": Self.report(key, value),
        ]
        let answer = await test.send(.post, "/agent/v1/join", bytes: body.bytes)
        #expect(answer.status == 400, "\(key): \(answer)")
        #expect(answer.place == "/report" + place, "\(key): \(answer)")
      }
      let joined = try await FakeAgent.join(test, "node-a", token: secret, key: .init())
      #expect(joined.status == 200, "\(joined)")
    }
  }

  @Test("a join or a renewal larger than any true one is not read, and a stranger's certificate request is not parsed")
  func strangers() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      func join(_ padding: Int) -> [UInt8] {
        let body: JSONValue = [
          "token": "unknown", "name": "node-b", "report": .object(Self.report),
          "certificate_request": .string("no PEM" + String(repeating: "x", count: padding)),
        ]
        return body.bytes
      }
      #expect(await test.send(.post, "/agent/v1/join", bytes: join(128 << 10)).code == "body_too_large")
      #expect(await test.send(.post, "/agent/v1/join", bytes: join(0)).code == "join_token_invalid")
      #expect(await agent.send(.post, "renew", bytes: join(128 << 10)).code == "body_too_large")
    }
  }

  @Test("a few joins are let in at a time; the others are sent away and come back")
  func gate() throws {
    let gate = JoinGate()
    var inside = 0
    #expect(throws: Problem.self) { while inside < 100 { try gate.enter(); inside += 1 } }
    #expect((1..<100).contains(inside))
    gate.leave()
    try gate.enter()
  }

  // MARK: Observations

  private func withVMs(_ body: (TestPlane, FakeAgent, [Assignment]) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      _ = try await test.createVM("db")
      try await body(test, agent, try await agent.poll())
    }
  }

  private func observation(_ document: Assignment, _ more: (String, JSONValue)...) -> JSONValue {
    var object: JSONObject = [
      "vm": .string(document.vm.description), "incarnation": 1, "generation": 1, "sequence": 1, "power": "running",
      "guest_stopped": false, "completed_requests": [], "disks": [],
    ]
    for (key, value) in more { object[key] = value }
    return .object(object)
  }

  @Test(
    "an observation that cannot be read is passed over, and the others of its report are taken",
    arguments: [
      ("power", "levitating"), ("incarnation", "one"), ("progress", 3_000_000_000), ("vm", "vm_nonsense"),
      ("sequence", -1), ("completed_requests", 7), ("problem", ["code": 5, "detail": "x"]),
    ] as [(String, JSONValue)])
  func unreadable(_ key: String, _ value: JSONValue) async throws {
    try await withVMs { test, agent, documents async throws in
      let body: JSONValue = [
        "observations": [observation(documents[0], (key, value)), observation(documents[1])]
      ]
      let answer = await agent.send(.post, "observations", bytes: body.bytes)
      #expect(answer.status == 200, "\(answer)")
      try await test.settle()
      #expect(await test.call(.get, "/v1/vms/web")["state"] == "creating")
      #expect(await test.call(.get, "/v1/vms/db")["state"] == "running")
    }
  }

  @Test("a problem of a kind that only newer agents know keeps its words")
  func newProblem() async throws {
    try await withVMs { test, agent, documents async throws in
      let problem: JSONValue = ["code": "gremlins", "detail": "something ate the disk"]
      let body: JSONValue = ["observations": [observation(documents[0], ("power", "absent"), ("problem", problem))]]
      #expect(await agent.send(.post, "observations", bytes: body.bytes).status == 200)
      let vm = await test.call(.get, "/v1/vms/web")
      #expect(vm["state"] == "failed", "\(vm)")
      #expect(vm["reason"] == "something ate the disk")
      try await test.settle()
      try await test.database.execute("UPDATE operations SET deadline = aloft_now() - interval '1 second'")
      try await test.database.execute("UPDATE work SET due_at = aloft_now()")
      try await test.settle()
      let list = await test.call(.get, "/v1/operations?resource=\(documents[0].vm)")
      #expect(list["items"]?[0]?["error"]?["code"] == "hypervisor_refused", "\(list)")
    }
  }

  @Test("what an agent tells in words is kept to a length that people read, without U+0000")
  func words() async throws {
    try await withVMs { test, agent, documents async throws in
      let long = String(repeating: "ä", count: 100_000)
      let body: JSONValue = [
        "observations": [
          observation(documents[0], ("problem", ["code": "hypervisor_refused", "detail": .string("no\u{0}" + long)])),
          observation(documents[1], ("power", "absent"), ("activity", .string("now\u{0}" + long))),
        ]
      ]
      #expect(await agent.send(.post, "observations", bytes: body.bytes).status == 200)
      for (name, start) in [("web", "no\u{FFFD}ä"), ("db", "now\u{FFFD}ä")] {
        let reason = await test.call(.get, "/v1/vms/\(name)")["reason"]?.stringValue ?? ""
        #expect(reason.hasPrefix(start) && reason.hasSuffix("…"), "\(reason.prefix(20))")
        #expect(reason.utf8.count <= 1100)
      }
    }
  }
}
