import AloftModel
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Quotas")
struct QuotaTests {
  private static func set(_ test: TestPlane, _ limits: JSONValue, project: String = "default") async -> Answer {
    await test.call(.put, "/v1/projects/\(project)/quotas", limits)
  }

  private static func usage(_ test: TestPlane, _ quota: Quota, project: String = "default") async throws -> JSONValue {
    let answer = await test.call(.get, "/v1/projects/\(project)/usage")
    #expect(answer.status == 200, "\(answer)")
    return try #require(answer["items"]?.arrayValue?.first { $0["quota"]?.stringValue == quota.rawValue })
  }

  @Test("without limits nothing is refused, and usage shows what there is of everything")
  func unlimited() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      _ = try await test.createVM("a")
      _ = await test.call(.post, "/v1/tokens", ["project": "default", "role": "viewer"])
      let used: [(Quota, Int)] = [
        (.vms, 1), (.vcpus, 1), (.memoryMiB, 128), (.diskGiB, 1), (.volumes, 1), (.snapshots, 0),
        (.backups, 0), (.backupBytes, 0), (.images, 1), (.imageBytes, 1024), (.tokens, 1), (.webhooks, 0),
        (.networks, 0), (.subnets, 0),
        (.securityGroups, 0), (.routers, 0), (.floatingIPs, 0),
        (.loadBalancers, 0),
      ]
      for (quota, amount) in used {
        let usage = try await Self.usage(test, quota)
        #expect(usage["used"]?.intValue == amount && usage["limit"] == .null && usage["is_default"] == true, "\(usage)")
      }
      #expect(used.map(\.0) == Quota.allCases)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a project that goes while its usage is asked for uses nothing")
  func deletedMeanwhile() async throws {
    try await TestPlane.with { test async throws in
      let usage = try await test.database.run { session in try QuotaStore.usage(ProjectID(UUID()), in: session) }
      #expect(usage.map(\.quota) == Quota.allCases && usage.allSatisfy { $0.used == 0 })
    }
  }

  @Test("a whole number is one however it is written", arguments: ["2.0", "2e0", "0.2e1", "2"])
  func spellings(limit: String) async throws {
    try await TestPlane.with { test async throws in
      let set = await test.send(
        .put, "/v1/projects/default/quotas", bytes: Array(#"{"images": \#(limit), "vms": \#(limit)}"#.utf8),
        headers: ["Authorization": "Bearer \(test.token)", "Content-Type": "application/json"])
      #expect(set.status == 200, "\(set)")
      #expect(try await Self.usage(test, .images)["limit"] == 2)
      try await test.makeImage()
      #expect(await test.call(.post, "/v1/images", ["name": "b"]).status == 201)
      #expect(await test.call(.post, "/v1/images", ["name": "c"])["quota"]?["limit"] == 2)
      _ = try await FakeAgent.join(test)
      _ = try await test.createVM("a")
      #expect(try await test.findings() == [])
    }
  }

  @Test("each quota refuses the one too many, and says which, how much there may be, is, and was asked for")
  func refusals() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test)
      _ = try await test.createVM("a")
      func refused(_ limits: JSONValue, _ method: String, _ body: JSONValue) async -> JSONValue? {
        #expect(await Self.set(test, limits).status == 200)
        let answer = await test.call(.post, "/v1/\(method)", body)
        #expect(answer.status == 409 && answer.code == "quota_exceeded", "\(answer)")
        return answer["quota"]
      }
      let vm = TestPlane.body("b")
      #expect(
        await refused(["vms": 1], "vms", vm) == ["quota": "vms", "limit": 1, "used": 1, "asked": 1])
      #expect(
        await refused(["vcpus": 4], "vms", TestPlane.body("b", ("vcpus", 4)))
          == ["quota": "vcpus", "limit": 4, "used": 1, "asked": 4])
      #expect(
        await refused(["memory_mib": 255], "vms", vm)
          == ["quota": "memory_mib", "limit": 255, "used": 128, "asked": 128])
      #expect(
        await refused(["disk_gib": 1], "vms", vm) == ["quota": "disk_gib", "limit": 1, "used": 1, "asked": 1])
      #expect(
        await refused(["volumes": 1], "volumes", ["name": "x", "size_gib": 1])
          == ["quota": "volumes", "limit": 1, "used": 1, "asked": 1])
      #expect(
        await refused(["disk_gib": 2], "volumes", ["name": "x", "size_gib": 2])
          == ["quota": "disk_gib", "limit": 2, "used": 1, "asked": 2])
      #expect(
        await refused(["images": 1], "images", ["name": "x"]) == ["quota": "images", "limit": 1, "used": 1, "asked": 1])
      #expect(
        await refused(["tokens": 0], "tokens", ["project": "default", "role": "viewer"])
          == ["quota": "tokens", "limit": 0, "used": 0, "asked": 1])
      let hook: JSONValue = ["name": "x", "url": "https://example.com", "events": ["vm.*"]]
      #expect(
        await refused(["webhooks": 0], "webhooks", hook) == ["quota": "webhooks", "limit": 0, "used": 0, "asked": 1])
      // A token that is for no project counts for none.
      #expect(await test.call(.post, "/v1/tokens", [:]).status == 201)
      // What was refused has left nothing; what fits still fits, and a dry run is told the same and takes nothing.
      #expect(await Self.set(test, ["vms": 2, "images": 2]).status == 200)
      #expect(await test.call(.post, "/v1/vms?dry_run=true", vm).status == 200)
      #expect(await test.call(.post, "/v1/vms", vm).status == 202)
      #expect(await test.call(.post, "/v1/vms?dry_run=true", TestPlane.body("c")).code == "quota_exceeded")
      #expect(await test.call(.post, "/v1/images", ["name": "x"]).status == 201)
      #expect(try await test.findings() == [])
    }
  }

  @Test("an upload beyond the quota of image bytes is refused, announced or not, and leaves no file")
  func uploads() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      #expect(await Self.set(test, ["image_bytes": 1536]).status == 200)
      #expect(await test.call(.post, "/v1/images", ["name": "large"]).status == 201)
      let refused = await test.upload([UInt8](repeating: 1, count: 1024), to: "large")
      #expect(refused.code == "quota_exceeded", "\(refused)")
      #expect(refused["quota"] == ["quota": "image_bytes", "limit": 1536, "used": 1024, "asked": 1024])
      #expect(await test.upload([UInt8](repeating: 1, count: 512), to: "large").status == 200)
      #expect(try await Self.usage(test, .imageBytes)["used"] == 1536)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a VM counts until its node has removed it")
  func deletion() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      #expect(await Self.set(test, ["vms": 1]).status == 200)
      _ = try await test.createVM("a")
      #expect(await test.call(.delete, "/v1/vms/a").status == 202)
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("b")).code == "quota_exceeded")
      try await agent.obey()
      try await test.settle()
      #expect(try await Self.usage(test, .vms)["used"] == 0)
      _ = try await test.createVM("b")
      #expect(try await test.findings() == [])
    }
  }

  @Test("a project's own limit wins over the default, null lifts it, and without one the default holds, as it is now")
  func defaults() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeProjectRow("shop")
      func limit(_ project: String) async throws -> [JSONValue?] {
        let usage = try await Self.usage(test, .vms, project: project)
        return [usage["limit"], usage["is_default"]]
      }
      let set = await test.call(.put, "/v1/quotas", ["vms": 5], headers: ["If-Match": "\"1\""])
      #expect(set.status == 200 && set.json == ["vms": 5] && set.header("ETag") == "\"2\"", "\(set)")
      #expect(try await limit("default") == [5, true])
      #expect(await Self.set(test, ["vms": 7], project: "shop").json == ["vms": 7])
      #expect(try await limit("shop") == [7, false])
      #expect(await Self.set(test, ["vms": .null], project: "shop").status == 200)
      #expect(try await limit("shop") == [.null, false])
      #expect(await Self.set(test, [:], project: "shop").status == 200)
      #expect(await test.call(.put, "/v1/quotas", ["vms": 6]).status == 200)
      #expect(try await limit("shop") == [6, true])
      let shown = await test.call(.get, "/v1/projects/shop/quotas")
      #expect(shown.json == [:] && shown.header("ETag") == "\"3\"", "\(shown)")
      #expect(await test.call(.put, "/v1/quotas", ["vms": 1], headers: ["If-Match": "\"1\""]).status == 412)
      #expect(await test.call(.put, "/v1/quotas", ["cpus": 1]).code == "unknown_field")
      #expect(await test.call(.put, "/v1/quotas", ["vms": -1]).code == "out_of_range")
      #expect(await Self.set(test, ["vms": 1], project: "nowhere").status == 404)
    }
  }

  @Test("a limit that is lowered below what is used takes nothing away and lets nothing in until it is below")
  func lowered() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      #expect(await Self.set(test, ["vms": 100]).status == 200)
      for name in ["a", "b", "c"] { _ = try await test.createVM(name) }
      #expect(await Self.set(test, ["vms": 2]).status == 200)
      for _ in 0..<20 {
        #expect(await test.call(.post, "/v1/vms", TestPlane.body("d")).code == "quota_exceeded")
      }
      #expect(try await test.findings() == [])
      for name in ["a", "b"] { _ = await test.call(.delete, "/v1/vms/\(name)") }
      try await agent.obey()
      try await test.settle()
      _ = try await test.createVM("d")
      #expect(await test.call(.post, "/v1/vms", TestPlane.body("e")).code == "quota_exceeded")
      #expect(try await test.findings() == [])
    }
  }

  @Test(
    "creates, deletions and changes of the limit at once never leave more than the limit allows, nor refuse what fits")
  func races() async throws {
    try await TestPlane.with(background: true, poolSize: 12) { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test, report: FakeAgent.report(vcpus: 1000, memoryMiB: 1 << 20))
      let other = try test.replica()
      for round in 0..<4 {
        let limit = 10 + 7 * round
        #expect(
          await Self.set(test, ["vms": .integer(Int64(limit)), "memory_mib": .integer(Int64(limit * 128))]).status
            == 200)
        let before = try await test.count("SELECT count(*) FROM vms")
        let answers = await withTaskGroup(of: Answer.self) { group in
          for number in 0..<40 {
            group.addTask {
              await test.call(
                .post, "/v1/vms", TestPlane.body("vm-\(round)-\(number)"),
                on: number.isMultiple(of: 2) ? test.plane : other)
            }
          }
          return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.count { $0.status == 202 } == limit - before)
        #expect(answers.allSatisfy { $0.status == 202 || $0.code == "quota_exceeded" })
        #expect(try await test.findings() == [])
        for row in try await test.database.query("SELECT name FROM vms ORDER BY id LIMIT 5") {
          _ = await test.call(.delete, "/v1/vms/\(try row.get(0, as: String.self))")
        }
        try await eventually("the deleted ones are gone") {
          try await agent.obey()
          return try await test.count("SELECT count(*) FROM vms") == limit - 5
        }
      }
      #expect(try await test.findings() == [])
    }
  }

  @Test("only those with the cloud's quotas set limits; members see theirs")
  func access() async throws {
    try await TestPlane.with { test async throws in
      let admin = TestPlane.bearer(try await test.makeToken(["default": .admin]))
      #expect(await test.call(.get, "/v1/projects/default/usage", headers: admin).status == 200)
      #expect(await test.call(.get, "/v1/projects/default/quotas", headers: admin).status == 200)
      #expect(await test.call(.put, "/v1/projects/default/quotas", ["vms": 1], headers: admin).status == 403)
      #expect(await test.call(.put, "/v1/quotas", ["vms": 1], headers: admin).status == 403)
      let `operator` = TestPlane.bearer(try await test.makeToken(cloudRole: .operator))
      #expect(await test.call(.put, "/v1/projects/default/quotas", ["vms": 1], headers: `operator`).status == 200)
      #expect(
        try await test.count("SELECT count(*) FROM events WHERE kind = 'project.quotas_updated'") == 1)
    }
  }

  @Test("aloftd check finds usage that has drifted and credit that the limit does not cover")
  func check() async throws {
    try await TestPlane.with { test async throws in
      _ = try await test.database.query("UPDATE project_usage SET vms = vms + 1 WHERE slot = 3 RETURNING 1")
      #expect(try await test.findings().contains { $0.hasPrefix("a project's usage equals its VMs") })
      _ = try await test.database.query("UPDATE project_usage SET vms = 0, vms_credit = 9 RETURNING 1")
      #expect(await Self.set(test, ["vms": 5]).status == 200)
      #expect(try await test.findings() == [])
      _ = try await test.database.query("UPDATE project_usage SET vms_credit = 1 RETURNING 1")
      #expect(try await test.findings().contains { $0.hasPrefix("no project may take more at once") })
    }
  }
}
