import AloftModel
import ControlPlane
import JSON
import Testing

@Suite("Lists")
struct ListTests {
  /// All items of a list, page by page.
  private func all(_ test: TestPlane, _ path: String, limit: Int) async throws -> [[String]] {
    var pages: [[String]] = []
    var cursor: String?
    repeat {
      let target = path + "?limit=\(limit)" + (cursor.map { "&cursor=\($0)" } ?? "")
      let page = await test.call(.get, target)
      try #require(page.status == 200, "\(page)")
      pages.append(try #require(page["items"]?.arrayValue).compactMap { $0["id"]?.stringValue })
      cursor = page["next_cursor"]?.stringValue
    } while cursor != nil
    return pages
  }

  @Test("the pages of a list show each item exactly once, also when items are added and removed meanwhile")
  func pages() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test, report: FakeAgent.report(vcpus: 64))
      var made: [String] = []
      for number in 0..<25 { made.append(try await test.createVM("vm-\(number)").vm.description) }
      let pages = try await all(test, "/v1/vms", limit: 10)
      #expect(pages.map(\.count) == [10, 10, 5])
      #expect(pages.flatMap { $0 }.sorted() == made.sorted())
      #expect(pages.flatMap { $0 } == pages.flatMap { $0 }.sorted(), "in the order of ids")
      #expect(try await all(test, "/v1/vms", limit: 25).map(\.count) == [25])

      let operations = try await all(test, "/v1/operations", limit: 10)
      #expect(operations.flatMap { $0 }.count == 25)
      #expect(Set(operations.flatMap { $0 }).count == 25)
      #expect(operations.flatMap { $0 } == operations.flatMap { $0 }.sorted(by: >), "newest first")
      for (path, count) in [("images", 1), ("nodes", 1), ("node-tokens", 1), ("node-pools", 1), ("projects", 1)] {
        #expect(try await all(test, "/v1/\(path)", limit: 1).flatMap { $0 }.count == count, "\(path)")
      }
    }
  }

  @Test("filters keep what matches all of them")
  func filters() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      _ = try await FakeAgent.join(test, labels: ["rack": "4"])
      for (name, labels): (String, JSONValue) in [
        ("web", ["tier": "front", "env": "prod"]), ("db", ["tier": "back", "env": "prod"]), ("lab", ["env": "a=b?c"]),
        ("bare", [:]),
      ] {
        _ = try Accepted(await test.call(.post, "/v1/vms", TestPlane.body(name, ("labels", labels))))
      }
      let cases: [(String, [String])] = [
        ("label=tier", ["web", "db"]), ("label=tier=front", ["web"]), ("label=env=prod&label=tier=back", ["db"]),
        ("label=env%3Da%3Db%3Fc", ["lab"]), ("label=none", []), ("name=db", ["db"]), ("name=nobody", []),
        ("node=node-a", ["web", "db", "lab", "bare"]), ("node=elsewhere", []),
      ]
      for (query, names) in cases {
        let page = await test.call(.get, "/v1/vms?\(query)")
        #expect(page["items"]?.arrayValue?.compactMap { $0["name"]?.stringValue } == names, "\(query): \(page)")
      }
      #expect(await test.call(.get, "/v1/nodes?label=rack=4")["items"]?.arrayValue?.count == 1)
      #expect(await test.call(.get, "/v1/nodes?label=rack=5")["items"] == [])
      #expect(await test.call(.get, "/v1/images?label=rack")["items"] == [])
    }
  }
}
