import AloftModel
import JSON
import Testing

@Suite("I/O limits of volumes")
struct VolumeLimitTests {
  /// A plane with one node and one VM that runs.
  private func withVM(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      try await agent.obey()
      try await test.settle()
      try await body(test, agent)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  @Test("limits are set, changed one by one and removed; a guest that runs is waited for")
  func changes() async throws {
    try await withVM { test, agent async throws in
      #expect(await test.call(.get, "/v1/volumes/web-boot")["io_limits"] == [:])
      let set = await test.call(
        .patch, "/v1/volumes/web-boot",
        ["io_limits": ["total_iops": ["per_second": 500, "burst": 900], "read_bytes": ["per_second": 1_048_576]]])
      #expect(set.status == 202, "\(set)")
      #expect(set["operation"]?["kind"] == "vm.limit_volume")
      #expect(set["io_limits"]?["total_iops"] == ["per_second": 500, "burst": 900, "burst_seconds": 1])
      let document = try #require(try await agent.poll().first)
      let limits = IOLimits([
        .totalIOPS: IOLimit(perSecond: 500, burst: 900), .readBytes: IOLimit(perSecond: 1_048_576),
      ])
      #expect(document.disks.map(\.limits) == [limits])
      try await agent.see(document, .running, stale: document.disks.map(\.volume))
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/web-boot")["operation"]?["status"] == "running")
      try await agent.see(document, .running)
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/web-boot")["operation"] == .null)

      _ = await test.call(
        .patch, "/v1/volumes/web-boot", ["io_limits": ["total_iops": .null, "write_bytes": ["per_second": 2048]]])
      let second = try #require(try await agent.obey().first)
      #expect(second.disks.first?.limits?.limits.keys.map(\.rawValue).sorted() == ["read_bytes", "write_bytes"])
      try await test.settle()
      let none = await test.call(.patch, "/v1/volumes/web-boot", ["io_limits": .null, "labels": ["a": "b"]])
      #expect(none["io_limits"] == [:] && none["labels"] == ["a": "b"], "\(none)")
      #expect(try await agent.obey().first?.disks.map(\.limits) == [nil])
      try await test.settle()
      let same = await test.call(.patch, "/v1/volumes/web-boot", ["io_limits": ["total_iops": .null]])
      #expect(same.status == 200 && same["operation"] == .null, "\(same)")
    }
  }

  @Test("a volume that no VM has is limited at once, and a guest gets it with its limits")
  func alone() async throws {
    try await withVM { test, agent async throws in
      let made = await test.call(
        .post, "/v1/volumes", ["name": "data", "size_gib": 2, "io_limits": ["write_iops": ["per_second": 10]]])
      #expect(made["io_limits"] == ["write_iops": ["per_second": 10]], "\(made)")
      try await agent.obey()
      try await test.settle()
      let changed = await test.call(
        .patch, "/v1/volumes/data", ["io_limits": ["write_iops": ["per_second": 20]], "delete_with_vm": true])
      #expect(changed.status == 200, "\(changed)")
      #expect(changed["delete_with_vm"] == true)
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"])
      let document = try #require(try await agent.obey().first)
      #expect(document.disks.last?.limits == IOLimits([.writeIOPS: IOLimit(perSecond: 20)]))
    }
  }

  @Test("limits that contradict each other are refused, and nothing is changed")
  func contradictions() async throws {
    try await withVM { test, _ async throws in
      func refused(_ limits: JSONValue, _ pointer: String, _ code: String = "limits_contradict") async {
        let answer = await test.call(.patch, "/v1/volumes/web-boot", ["io_limits": limits])
        #expect(answer.code == code && answer.status == 400, "\(answer)")
        #expect(answer["errors"]?[0]?["pointer"]?.stringValue == pointer, "\(answer)")
        let created = await test.call(.post, "/v1/volumes", ["name": "new", "size_gib": 1, "io_limits": limits])
        #expect(created.code == code, "\(created)")
      }
      await refused(
        ["total_iops": ["per_second": 5], "write_iops": ["per_second": 5]], "/io_limits/write_iops")
      await refused(["read_bytes": ["per_second": 9000, "burst": 8000]], "/io_limits/read_bytes/burst")
      await refused(
        ["read_iops": ["per_second": 9, "burst_seconds": 8]], "/io_limits/read_iops/burst_seconds")
      await refused(["read_iops": ["per_second": 0]], "/io_limits/read_iops/per_second", "out_of_range")
      _ = await test.call(.patch, "/v1/volumes/web-boot", ["io_limits": ["read_iops": ["per_second": 9]]])
      let against = await test.call(.patch, "/v1/volumes/web-boot", ["io_limits": ["total_iops": ["per_second": 9]]])
      #expect(against.code == "limits_contradict", "what is there counts, too: \(against)")
      #expect(await test.call(.get, "/v1/volumes/web-boot")["io_limits"] == ["read_iops": ["per_second": 9]])
    }
  }
}
