import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Encrypted volumes")
struct VolumeEncryptionTests {
  /// A plane with one node and an encrypted volume, and its document.
  private func withVolume(_ body: (TestPlane, FakeAgent, VolumeAssignment) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let made = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 2, "encrypted": true])
      try #require(made.status == 202, "\(made)")
      #expect(made["encrypted"] == true)
      _ = try await agent.pollOnly()
      let document = try #require(agent.newVolumes().first)
      try await agent.see([document])
      try await test.settle()
      try await body(test, agent, document)
      try await test.settle()
      #expect(try await test.findings() == [])
    }
  }

  private func register(_ key: VolumeKey?) { TestSecrets.register(key?.text ?? "") }

  @Test(
    "a key is made for each volume; its node's agent gets it, the database holds it sealed, and nobody else learns it")
  func key() async throws {
    try await withVolume { test, agent, document async throws in
      let key = try #require(document.key)
      register(key)
      #expect(document.encrypted == true && key.bytes.count == VolumeKey.length)
      #expect(
        document.pool != "local" && document.unmarked.pool == "local",
        "an agent that cannot encrypt has no such pool, and writes nothing in the clear")
      #expect(!"\(document)".contains(key.text), "what is printed of a document does not show it")

      let row = try #require(try await test.database.one("SELECT sealed_key, volumes::text FROM volumes"))
      let sealed = try row.get(0, as: [UInt8].self)
      let hexadecimal = key.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      let text = try row.get(1, as: String.self)
      #expect(!text.contains(hexadecimal) && !text.contains(key.text))
      #expect(try TestPlane.sealing.get().open(sealed, of: document.volume) == key)
      #expect(throws: SealingKey.Failure.notAuthentic) {
        try TestPlane.sealing.get().open(sealed, of: VolumeID(UUID()))
      }

      for path in ["/v1/volumes", "/v1/volumes/data", "/v1/events", "/v1/operations"] {
        let answer = await test.call(.get, path)
        #expect(!answer.description.contains(key.text) && !answer.description.contains(hexadecimal), "\(path)")
      }

      _ = await test.call(.post, "/v1/volumes", ["name": "second", "size_gib": 1, "encrypted": true])
      _ = await test.call(.post, "/v1/volumes", ["name": "plain", "size_gib": 1])
      _ = try await agent.pollOnly()
      let more = agent.newVolumes().filter { $0.volume != document.volume }
      more.forEach { register($0.key) }
      #expect(Set(more.map(\.encrypted)) == [true, nil])
      #expect(Set((more + [document]).compactMap(\.key)).count == 2, "no two volumes have the same")
      try await agent.see(more)
      let other = try await FakeAgent.join(test, "node-b")
      _ = try await other.pollOnly()
      #expect(other.newVolumes() == [])

      _ = await test.call(.delete, "/v1/volumes/data")
      _ = try await agent.pollOnly()
      let gone = try #require(agent.newVolumes().first { $0.volume == document.volume })
      #expect(gone.deleted && gone.encrypted == true && gone.key == nil, "to delete it nothing has to be opened")
      try await agent.see([gone])
    }
  }

  @Test(
    "clones have the key of what they are cloned from, sealed as their own, and are encrypted whether that is said or not"
  )
  func clones() async throws {
    try await withVolume { test, agent, document async throws in
      register(document.key)
      let plain = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data", "encrypted": false])
      #expect(plain.status == 409 && plain.code == "encryption_unsupported", "\(plain)")
      let made = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data"])
      #expect(made["encrypted"] == true, "\(made)")
      _ = await test.call(.post, "/v1/snapshots", ["name": "before", "volume": "data"])
      for _ in 1...3 {
        try await agent.obey()
        try await test.settle()
      }
      _ = await test.call(.post, "/v1/volumes", ["name": "third", "snapshot": "before", "encrypted": true])
      _ = await test.call(.post, "/v1/volumes", ["name": "open", "size_gib": 1])
      let again = try await agent.restarted()
      let keys = again.filter { $0.encrypted == true }.map(\.key)
      #expect(keys.count == 3 && Set(keys) == [document.key])
      let sealed = try await test.database.query("SELECT DISTINCT sealed_key FROM volumes WHERE encrypted")
      #expect(sealed.count == 3)
      try await agent.obey()
      try await test.settle()
      let locked = await test.call(.post, "/v1/volumes", ["name": "locked", "volume": "open", "encrypted": true])
      #expect(locked.code == "encryption_unsupported" && locked.description.contains("not encrypted"), "\(locked)")
    }
  }

  @Test("a VM's boot disk can be encrypted")
  func bootDisk() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      let vm = await test.call(.post, "/v1/vms", TestPlane.body("web", ("disk_encrypted", true)))
      #expect(vm.status == 202, "\(vm)")
      _ = try await agent.pollOnly()
      let document = try #require(agent.newVolumes().first)
      register(document.key)
      #expect(document.encrypted == true && document.key != nil && document.source?.image != nil)
      #expect(await test.call(.get, "/v1/volumes/web-boot")["encrypted"] == true)
      #expect(try await test.findings() == [])
    }
  }

  @Test("where it is not possible it is refused: in pools of a cluster, and for images, which would not be encrypted")
  func refused() async throws {
    try await withVolume { test, agent, document async throws in
      register(document.key)
      _ = await test.call(.post, "/v1/storage-pools", ["name": "shared", "kind": "rbd"])
      let volume = await test.call(
        .post, "/v1/volumes", ["name": "far", "size_gib": 1, "pool": "shared", "encrypted": true])
      #expect(volume.status == 409 && volume.code == "encryption_unsupported", "\(volume)")
      #expect(volume.description.contains("kind dir"))
      let vm = await test.call(
        .post, "/v1/vms", TestPlane.body("web", ("disk_pool", "shared"), ("disk_encrypted", true)))
      #expect(vm.code == "encryption_unsupported", "\(vm)")
      let image = await test.call(.post, "/v1/images", ["name": "copy", "source": ["volume": "data"]])
      #expect(image.status == 409 && image.code == "encryption_unsupported", "\(image)")
    }
  }

  @Test("keys under an old sealing key are sealed anew with the newest, and the old one can go")
  func resealed() async throws {
    try await withVolume { test, agent, document async throws in
      let (text, newer) = (SealingKey.generate(), SealingKey.generate())
      let (old, both, new) = (
        try SealingKey(text), try SealingKey(newer + "\n" + text), try SealingKey(newer)
      )
      let key = try #require(document.key)
      register(key)
      let sealed = try old.seal(key, of: document.volume)
      try await test.database.execute("UPDATE volumes SET sealed_key = \(sealed)")
      #expect(try await Resealing.volumes(with: new, in: test.database) == .init(resealed: 0, unreadable: 1))
      #expect(try await Resealing.volumes(with: both, in: test.database) == .init(resealed: 1, unreadable: 0))
      #expect(try await Resealing.volumes(with: both, in: test.database) == .init(resealed: 0, unreadable: 0))
      let row = try #require(try await test.database.one("SELECT sealed_key FROM volumes"))
      #expect(try new.open(try row.get(0), of: document.volume) == key)
      // Put back for the plane, which has none of these.
      let own = try TestPlane.sealing.get().seal(key, of: document.volume)
      try await test.database.execute("UPDATE volumes SET sealed_key = \(own)")
    }
  }

  @Test("a replica that cannot open a key sends the document without it, and clones nothing")
  func unreadable() async throws {
    try await withVolume { test, agent, document async throws in
      register(document.key)
      let key = try #require(document.key)
      let sealed = try SealingKey(SealingKey.generate()).seal(key, of: document.volume)
      try await test.database.execute("UPDATE volumes SET sealed_key = \(sealed)")
      let documents = try await agent.restarted()
      #expect(documents.map(\.encrypted) == [true] && documents.map(\.key) == [nil])
      let clone = await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "data"])
      #expect(clone.status == 503 && clone.description.contains("sealing key"), "\(clone)")
      #expect(try await test.count("SELECT count(*) FROM snapshots") == 0)
    }
  }

  @Test("an encrypted volume without a key is found by the check; a key without encryption cannot be")
  func checked() async throws {
    try await withVolume { test, agent, document async throws in
      register(document.key)
      let before = try #require(try await test.database.one("SELECT sealed_key FROM volumes"))
      let sealed = try before.get(0, as: [UInt8].self)
      try await test.database.execute("UPDATE volumes SET sealed_key = NULL")
      #expect(try await test.findings().contains { $0.hasPrefix("an encrypted volume") })
      await #expect(throws: PostgresError.self) {
        try await test.database.execute("UPDATE volumes SET encrypted = false, sealed_key = \(sealed)")
      }
      try await test.database.execute("UPDATE volumes SET sealed_key = \(sealed)")
    }
  }
}

extension FakeAgent {
  /// All documents of volumes, as an agent that starts anew gets them.
  fileprivate func restarted() async throws -> [VolumeAssignment] {
    let answer = await send(.get, "assignments?after=0&wait=0")
    return try JSONCoder.decode(Assignments.self, from: answer.bytes).volumes ?? []
  }
}
