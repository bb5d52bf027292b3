import AloftModel
import Crypto
import Foundation
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Backups of encrypted volumes")
struct EncryptedBackupTests {
  private static let chunk = 1 << 20

  /// What an agent might have sealed.
  private func sealed(_ value: UInt8) -> [UInt8] {
    [UInt8](repeating: value, count: Self.chunk + BackupManifest.sealBytes)
  }

  private func hash(_ bytes: [UInt8]) throws -> ChunkHash { try #require(ChunkHash(Array(SHA256.hash(data: bytes)))) }

  /// A plane with one node and the encrypted volume `safe`, and its document.
  private func withVolume(_ body: (TestPlane, FakeAgent, VolumeAssignment) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      try await body(test, agent, try await make("safe", test, agent))
      try await clear(test)
      try await obey(test, agent)
      #expect(try await test.findings() == [])
    }
  }

  /// Makes an encrypted volume; returns its document.
  private func make(_ name: String, _ test: TestPlane, _ agent: FakeAgent) async throws -> VolumeAssignment {
    let made = await test.call(
      .post, "/v1/volumes", ["name": .string(name), "size_gib": 1, "encrypted": true])
    try #require(made.status == 202, "\(made)")
    return try await see(made, test, agent)
  }

  /// Carries out what was asked of a volume; returns the document.
  private func see(_ answer: Answer, _ test: TestPlane, _ agent: FakeAgent) async throws -> VolumeAssignment {
    let id = try #require(answer["id"]?.stringValue.flatMap { VolumeID($0) }, "\(answer)")
    _ = try await agent.pollOnly()
    let documents = agent.newVolumes()
    try await agent.see(documents)
    try await test.settle()
    let document = try #require(documents.last { $0.volume == id })
    TestSecrets.register(document.key?.text ?? "")
    return document
  }

  private func obey(_ test: TestPlane, _ agent: FakeAgent) async throws {
    try await agent.obey()
    try await test.settle()
  }

  /// Does what is due about backups.
  private func clear(_ test: TestPlane) async throws {
    for _ in 0..<3 {
      try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'backup'")
      _ = try await test.plane.stepImages()
    }
  }

  /// Begins a backup; returns what the node is to do.
  private func begin(
    _ name: String, of volume: String, _ test: TestPlane, _ agent: FakeAgent
  ) async throws -> (document: VolumeAssignment, wanted: VolumeAssignment.Backup) {
    let asked = await test.call(.post, "/v1/backups", ["name": .string(name), "volume": .string(volume)])
    try #require(asked.status == 202, "\(asked)")
    _ = try await agent.pollOnly()
    let document = try #require(agent.newVolumes().last { $0.backups?.isEmpty == false })
    try await agent.see([document])
    try await test.settle()
    return (document, try #require(document.backups?.last))
  }

  private func manifest(
    _ chunks: [Int: BackupManifest.Chunk], sealing volume: VolumeID?, _ reading: BackupReading = .full
  ) -> BackupManifest {
    BackupManifest(sizeBytes: 1 << 30, chunkBytes: Self.chunk, reading: reading, chunks: chunks, sealing: volume)
  }

  /// Makes a backup with one chunk; what the earlier one has is named, too.
  private func backUp(
    _ volume: String, as name: String, _ test: TestPlane, _ agent: FakeAgent, _ value: UInt8 = 1,
    over earlier: [Int: BackupManifest.Chunk] = [:]
  ) async throws -> (id: BackupID, chunks: [Int: BackupManifest.Chunk]) {
    let begun = try await begin(name, of: volume, test, agent)
    let id = begun.wanted.backup
    let isSealed = begun.document.encrypted == true
    let bytes = isSealed ? sealed(value) : Array(sealed(value).prefix(Self.chunk))
    #expect(await agent.send(.put, "backups/\(id)/chunks/\(try hash(bytes))", bytes: bytes).status == 204)
    let chunks = earlier.merging([Int(value): .init(owner: id, hash: try hash(bytes))]) { $1 }
    let text = manifest(
      chunks, sealing: isSealed ? begun.document.volume : nil, earlier.isEmpty ? .full : .incremental
    ).text
    let finished = await agent.send(.put, "backups/\(id)/manifest", bytes: text)
    try #require(finished.status == 204, "\(finished)")
    try await test.settle()
    try await obey(test, agent)
    return (id, chunks)
  }

  @Test("what comes of an encrypted volume has to be sealed with its key, and is verified without it")
  func made() async throws {
    try await withVolume { test, agent, document async throws in
      let (_, wanted) = try await begin("one", of: "safe", test, agent)
      let id = wanted.backup
      #expect(await test.call(.get, "/v1/backups/one")["encrypted"] == true)
      let long = sealed(1) + [1]
      let refused = await agent.send(.put, "backups/\(id)/chunks/\(try hash(long))", bytes: long)
      #expect(refused.status == 413, "\(refused)")
      let (bytes, name) = (sealed(1), try hash(sealed(1)))
      #expect(await agent.send(.put, "backups/\(id)/chunks/\(name)", bytes: bytes).status == 204)
      let chunks = [7: BackupManifest.Chunk(owner: id, hash: name)]
      for other in [nil, VolumeID(UUID())] {
        let answer = await agent.send(.put, "backups/\(id)/manifest", bytes: manifest(chunks, sealing: other).text)
        #expect(answer.code == "bad_format", "\(answer)")
      }
      let text = manifest(chunks, sealing: document.volume).text
      #expect(await agent.send(.put, "backups/\(id)/manifest", bytes: text).status == 204)
      try await test.settle()
      let one = await test.call(.get, "/v1/backups/one")
      #expect(one["state"] == "available" && one["stored_bytes"]?.intValue == Self.chunk + 48, "\(one)")

      // A replica that opens no key verifies all the same.
      let row = try #require(try await test.database.one("SELECT sealed_key FROM backups"))
      let kept = try row.get(0, as: [UInt8].self)
      let key = try #require(document.key)
      #expect(try TestPlane.sealing.get().open(kept, of: id) == key)
      #expect(throws: SealingKey.Failure.notAuthentic) {
        try TestPlane.sealing.get().open(kept, of: document.volume)
      }
      let lost = try SealingKey(SealingKey.generate()).seal(key, of: id)
      try await test.database.execute("UPDATE backups SET sealed_key = \(lost)")
      #expect(await test.call(.post, "/v1/backups/one/verify").status == 202)
      try await clear(test)
      let verified = await test.call(.get, "/v1/backups/one")
      #expect(verified["state"] == "available" && verified["verified_at"] != .null, "\(verified)")
      let locked = await test.call(.post, "/v1/volumes", ["name": "new", "backup": "one"])
      #expect(locked.status == 503 && locked.description.contains("sealing key"), "\(locked)")
      try await test.database.execute("UPDATE backups SET sealed_key = \(kept)")

      // The next one is built on it; one that fails keeps no key.
      try await obey(test, agent)
      let next = try await begin("two", of: "safe", test, agent)
      #expect(next.wanted.earlier == id && next.wanted.base != nil)
      let report = try JSONCoder.encode(
        ExportReport(activity: "", problem: .init(code: .volumeDamaged, detail: "a layer is gone")))
      #expect(await agent.send(.put, "backups/\(next.wanted.backup)/progress", bytes: report).status == 204)
      try await test.settle()
      #expect(await test.call(.get, "/v1/backups/two")["state"] == "failed")
      #expect(try await test.count("SELECT count(*) FROM backups WHERE sealed_key IS NOT NULL") == 1)
      let schedule = await test.call(.put, "/v1/volumes/safe/backup-schedule", ["interval_hours": 24, "keep": 2])
      #expect(schedule.status == 200, "\(schedule)")
      #expect(await test.call(.delete, "/v1/volumes/safe/backup-schedule").status == 204)
    }
  }

  @Test("backups outlive their volume with its key, which what is restored has, sealed as its own; with them it goes")
  func outlives() async throws {
    try await withVolume { test, agent, document async throws in
      let first = try await backUp("safe", as: "one", test, agent)
      let second = try await backUp("safe", as: "two", test, agent, 2, over: first.chunks)
      #expect(await test.call(.get, "/v1/backups/two")["kind"] == "incremental")
      #expect(await test.call(.delete, "/v1/volumes/safe").status == 202)
      try await obey(test, agent)
      #expect(await test.call(.get, "/v1/volumes/safe").status == 404)
      #expect(await test.call(.delete, "/v1/backups/one").status == 204)
      try await clear(test)

      let new = await test.call(.post, "/v1/volumes", ["name": "new", "backup": "two"])
      try #require(new.status == 202 && new["encrypted"] == true, "\(new)")
      _ = try await agent.pollOnly()
      let restored = try #require(agent.newVolumes().first { $0.source?.backup == second.id })
      #expect(restored.key == document.key && restored.key != nil && restored.encrypted == true)
      for chunk in second.chunks.values {
        let answer = await agent.send(.get, "backups/\(second.id)/chunks/\(chunk.owner)/\(chunk.hash)")
        #expect(answer.bytes.count == Self.chunk + 48, "\(answer)")
      }
      try await agent.see([restored])
      try await test.settle()
      let row = try #require(try await test.database.one("SELECT sealed_key FROM volumes"))
      #expect(try TestPlane.sealing.get().open(row.get(0), of: restored.volume) == document.key)
      // What is restored has backups of its own.
      let own = try await begin("three", of: "new", test, agent)
      #expect(own.wanted.earlier == nil)
      #expect(await test.call(.delete, "/v1/backups/three").status == 204)
      #expect(await test.call(.delete, "/v1/backups/two").status == 204)
      #expect(try await test.count("SELECT count(*) FROM backups WHERE sealed_key IS NOT NULL") == 0)
    }
  }

  @Test(
    "what a backup of an encrypted volume holds is restored only to what has the volume's key; others are told what works"
  )
  func rules() async throws {
    try await withVolume { test, agent, document async throws in
      let first = try await backUp("safe", as: "sealed", test, agent)
      #expect(await test.call(.post, "/v1/volumes", ["name": "open", "size_gib": 1]).status == 202)
      #expect(await test.call(.post, "/v1/volumes", ["name": "copy", "volume": "safe"]).status == 202)
      for _ in 0..<3 { try await obey(test, agent) }
      let other = try await make("other", test, agent)
      #expect(other.key != document.key)
      _ = await test.call(.post, "/v1/storage-pools", ["name": "shared", "kind": "rbd"])
      let refused = [
        ("/backup", await test.call(.post, "/v1/volumes/open/restore", ["backup": "sealed"])),
        ("/backup", await test.call(.post, "/v1/volumes/other/restore", ["backup": "sealed"])),
        ("/encrypted", await test.call(.post, "/v1/volumes", ["name": "x", "backup": "sealed", "encrypted": false])),
        ("/pool", await test.call(.post, "/v1/volumes", ["name": "x", "backup": "sealed", "pool": "shared"])),
      ]
      for (place, answer) in refused {
        #expect(answer.status == 409 && answer.code == "encryption_unsupported" && answer.place == place, "\(answer)")
      }
      #expect(refused[0].1.description.contains("not encrypted") && refused[1].1.description.contains("another key"))

      for volume in ["safe", "copy"] {
        let answer = await test.call(.post, "/v1/volumes/\(volume)/restore", ["backup": "sealed"])
        try #require(answer.status == 202, "\(answer)")
        let begun = try await see(answer, test, agent)
        #expect(begun.restoring?.backup == first.id && begun.key == document.key)
      }

      // What was in the clear before may become encrypted.
      _ = try await backUp("open", as: "bare", test, agent)
      #expect(await test.call(.get, "/v1/backups/bare")["encrypted"] == false)
      let over = await test.call(.post, "/v1/volumes/other/restore", ["backup": "bare"])
      #expect(try await see(over, test, agent).key == other.key, "\(over)")
      let body: JSONValue = ["name": "new", "backup": "bare", "encrypted": true]
      let new = try await see(await test.call(.post, "/v1/volumes", body), test, agent)
      #expect(new.key != nil && new.key != other.key && new.encrypted == true && new.source?.backup != nil)
    }
  }

  @Test("the keys that backups have are sealed anew with the newest sealing key")
  func resealed() async throws {
    try await withVolume { test, agent, document async throws in
      let first = try await backUp("safe", as: "one", test, agent)
      let key = try #require(document.key)
      let (text, newer) = (SealingKey.generate(), SealingKey.generate())
      let (old, both, new) = (try SealingKey(text), try SealingKey(newer + "\n" + text), try SealingKey(newer))
      try await test.database.execute("UPDATE backups SET sealed_key = \(try old.seal(key, of: first.id))")
      #expect(try await Resealing.backups(with: new, in: test.database) == .init(resealed: 0, unreadable: 1))
      #expect(try await Resealing.backups(with: both, in: test.database) == .init(resealed: 1, unreadable: 0))
      #expect(try await Resealing.backups(with: both, in: test.database) == .init(resealed: 0, unreadable: 0))
      let row = try #require(try await test.database.one("SELECT sealed_key FROM backups"))
      #expect(try new.open(try row.get(0), of: first.id) == key)
      try await test.database.execute("UPDATE backups SET sealed_key = NULL")
      #expect(try await test.findings().contains { $0.hasPrefix("a backup of an encrypted volume") })
      // Put back for the plane, which has none of these.
      let own = try TestPlane.sealing.get().seal(key, of: first.id)
      try await test.database.execute("UPDATE backups SET sealed_key = \(own)")
    }
  }
}
