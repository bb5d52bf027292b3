import AloftModel
import JSON
import Testing

@Suite("Clones of volumes")
struct VolumeCloneTests {
  /// A plane with one node and a volume that no VM has.
  private func withVolume(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 2])
      try await agent.obey()
      try await test.settle()
      try await body(test, agent)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  @Test("a volume is cloned through a snapshot that nobody sees and that goes with the making")
  func hidden() async throws {
    try await withVolume { test, agent async throws in
      let made = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data"])
      #expect(made.status == 202 && made["size_gib"] == 2, "\(made)")
      #expect(await test.call(.get, "/v1/snapshots")["items"] == [])
      let deleted = await test.call(.delete, "/v1/volumes/data")
      #expect(deleted.code == "in_use" && deleted.description.contains("copy"), "\(deleted)")
      _ = try await agent.pollOnly()
      let documents = agent.newVolumes()
      let original = try #require(documents.first { $0.source == nil })
      let copy = try #require(documents.first { $0.source != nil })
      #expect(original.snapshots.map(\.id) == [copy.source?.snapshot])
      #expect(copy.source?.volume == original.volume && copy.source?.isAwaited == true)
      try await agent.see([original])
      try await agent.see([copy], .preparing, activity: "waiting")
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/copy")["state"] == "creating")
      try await agent.see([copy])
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/copy")["state"] == "available")
      _ = try await agent.pollOnly()
      let after = agent.newVolumes()
      #expect(after.map(\.volume) == [original.volume] && after.first?.snapshots == [], "\(after)")
      try await agent.see(after)
      try await test.settle()
      #expect(try await test.count("SELECT count(*) FROM snapshots") == 0)
      #expect(try await test.count("SELECT count(*) FROM events WHERE kind LIKE 'snapshot.%'") == 0)
      #expect(await test.call(.delete, "/v1/volumes/data").status == 202, "the copy does not need it")
      try await agent.obey()
    }
  }

  @Test("a clone that is given up takes the snapshot with it")
  func givenUp() async throws {
    try await withVolume { test, agent async throws in
      _ = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data", "size_gib": 3])
      _ = await test.call(.post, "/v1/volumes", ["name": "second", "volume": "data"])
      #expect(await test.call(.delete, "/v1/volumes/copy").status == 202)
      for _ in 1...4 {
        try await agent.obey()
        try await test.settle()
      }
      #expect(try await test.count("SELECT count(*) FROM snapshots") == 0)
      #expect(await test.call(.get, "/v1/volumes/second")["state"] == "available")
    }
  }

  @Test("what a named snapshot says of where it comes from never is one that nobody sees")
  func parents() async throws {
    try await withVolume { test, agent async throws in
      _ = await test.call(.post, "/v1/snapshots", ["name": "first", "volume": "data"])
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data"])
      try await agent.obey()
      try await test.settle()
      _ = await test.call(.post, "/v1/snapshots", ["name": "second", "volume": "data"])
      let first = await test.call(.get, "/v1/snapshots/first")
      let second = await test.call(.get, "/v1/snapshots/second")
      #expect(second["volumes"]?[0]?["parent_id"] == first["id"], "\(second)")
      for _ in 1...3 {
        try await agent.obey()
        try await test.settle()
      }
    }
  }

  @Test("a clone is not smaller, is not of an image as well, and is where its volume is")
  func refusals() async throws {
    try await withVolume { test, agent async throws in
      try await test.makeImage()
      let small = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data", "size_gib": 1])
      #expect(small.code == "out_of_range", "\(small)")
      let both = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data", "image": "tiny"])
      #expect(both.code == "not_one_of", "\(both)")
      _ = await test.call(.post, "/v1/volumes", ["name": "new", "size_gib": 1])
      let early = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "new"])
      #expect(early.code == "wrong_state", "\(early)")
      _ = try await FakeAgent.join(test, "node-b")
      let made = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data"])
      #expect(made["node"] == "node-a", "\(made)")
      for _ in 1...4 {
        try await agent.obey()
        try await test.settle()
      }
    }
  }
}
