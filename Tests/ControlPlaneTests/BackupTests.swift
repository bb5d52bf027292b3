import AloftModel
import Crypto
import Foundation
import HTTPClient
import JSON
import ObjectStorage
import ObjectStorageTestSupport
import Testing

@testable import ControlPlane

@Suite("Backups")
struct BackupTests {
  private static let chunk = 1 << 20

  private func piece(_ value: UInt8) -> [UInt8] { [UInt8](repeating: value, count: Self.chunk) }
  private func hash(_ bytes: [UInt8]) throws -> ChunkHash { try #require(ChunkHash(Array(SHA256.hash(data: bytes)))) }

  /// A plane with one node and a volume of 1 GiB.
  private func withVolume(
    images: ImageContents? = nil, _ body: (TestPlane, FakeAgent) async throws -> Void
  ) async throws {
    try await TestPlane.with(images: images) { test async throws in
      let agent = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 1])
      try await obey(test, agent)
      try await body(test, agent)
      try await clear(test)
      try await obey(test, agent)
      #expect(try await test.findings() == [])
    }
  }

  private func obey(_ test: TestPlane, _ agent: FakeAgent) async throws {
    try await agent.obey()
    try await test.settle()
  }

  /// Does what is due about backups.
  private func clear(_ test: TestPlane, on replica: ControlPlane? = nil) async throws {
    for _ in 0..<3 {
      try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'backup'")
      _ = try await (replica ?? test.plane).stepImages()
    }
  }

  private struct Begun {
    var id: BackupID
    var operation: OperationID
    var document: VolumeAssignment
    var wanted: VolumeAssignment.Backup
  }

  /// Asks for a backup, and lets the node take the snapshot.
  private func begin(
    _ name: String, _ test: TestPlane, _ agent: FakeAgent, _ more: JSONObject = [:]
  ) async throws -> Begun {
    var body: JSONObject = ["name": .string(name), "volume": "data"]
    for (key, value) in more { body[key] = value }
    let answer = await test.call(.post, "/v1/backups", .object(body))
    try #require(answer.status == 202, "\(answer)")
    let id = try #require(answer["id"]?.stringValue.flatMap { BackupID($0) })
    let operation = try #require(answer["operation"]?["id"]?.stringValue.flatMap { OperationID($0) })
    _ = try await agent.pollOnly()
    let documents = agent.newVolumes()
    let document = try #require(documents.first { $0.backups?.contains { $0.backup == id } == true }, "\(documents)")
    try await agent.see([document])
    try await test.settle()
    let wanted = try #require(document.backups?.first { $0.backup == id })
    return Begun(id: id, operation: operation, document: document, wanted: wanted)
  }

  private func send(_ bytes: [UInt8], of id: BackupID, _ agent: FakeAgent, as name: String? = nil) async throws
    -> Answer
  {
    let own = try hash(bytes).description
    return await agent.send(.put, "backups/\(id)/chunks/\(name ?? own)", bytes: bytes)
  }

  private func finish(_ manifest: BackupManifest, of id: BackupID, _ agent: FakeAgent) async -> Answer {
    await agent.send(.put, "backups/\(id)/manifest", bytes: manifest.text)
  }

  private func manifest(
    _ chunks: [Int: BackupManifest.Chunk], _ reading: BackupReading = .full
  ) -> BackupManifest {
    BackupManifest(sizeBytes: 1 << 30, chunkBytes: Self.chunk, reading: reading, readBytes: 5, chunks: chunks)
  }

  /// Makes a backup whose chunks have these values; what the earlier one has already is named.
  @discardableResult
  private func make(
    _ name: String, _ values: [Int: UInt8], over earlier: [Int: BackupManifest.Chunk] = [:], _ test: TestPlane,
    _ agent: FakeAgent
  ) async throws -> (id: BackupID, chunks: [Int: BackupManifest.Chunk]) {
    let begun = try await begin(name, test, agent)
    var chunks = earlier
    for (index, value) in values {
      #expect(try await send(piece(value), of: begun.id, agent).status == 204)
      chunks[index] = .init(owner: begun.id, hash: try hash(piece(value)))
    }
    let finished = await finish(
      manifest(chunks, begun.wanted.base == nil ? .full : .incremental), of: begun.id, agent)
    try #require(finished.status == 204, "\(finished)")
    #expect(await test.operation(begun.operation)["status"] == "succeeded")
    try await obey(test, agent)
    return (begun.id, chunks)
  }

  /// The files of the store.
  private func objects(_ test: TestPlane) async throws -> [String] {
    try await test.files.store.list(prefix: "backups/").objects.map(\.key.text)
  }

  @Test(
    "a node keeps what the volume holds and sends what is asked for; what was sent before it died is not sent again")
  func whole() async throws {
    try await withVolume { test, agent async throws in
      let begun = try await begin("monday", test, agent)
      let own = try #require(begun.document.snapshots.first)
      #expect(!own.isTaken && own.quiesce && own.id == begun.wanted.snapshot)
      #expect(begun.wanted.base == nil && begun.wanted.earlier == nil && begun.wanted.chunkBytes == Self.chunk)
      #expect(await test.call(.get, "/v1/snapshots")["items"] == [], "nobody sees it")
      #expect(await test.call(.post, "/v1/backups", ["name": "two", "volume": "data"]).code == "in_use")
      #expect(await test.call(.delete, "/v1/volumes/data").code == "in_use")

      let (one, two) = (try hash(piece(1)), try hash(piece(2)))
      #expect(try await send(piece(1), of: begun.id, agent).status == 204)
      #expect(try await send(piece(1), of: begun.id, agent).status == 204, "twice is once")
      #expect(try await send(piece(2), of: begun.id, agent, as: one.description).status == 204, "it is there already")
      #expect(try await send(piece(3), of: begun.id, agent, as: two.description).code == "checksum_mismatch")
      let list = try JSONCoder.encode(ChunkList(chunks: [one.description, two.description]))
      let missing = await agent.send(.post, "backups/\(begun.id)/missing", bytes: list)
      #expect(try JSONCoder.decode(ChunkList.self, from: missing.bytes).chunks == [two.description], "\(missing)")
      let report = ExportReport(activity: "sending the backup", bytesDone: 1, bytesTotal: 4)
      #expect(try await agent.send(.put, "backups/\(begun.id)/progress", bytes: JSONCoder.encode(report)).status == 204)
      #expect(await test.operation(begun.operation)["progress"] == 25)

      let wrong = manifest([0: .init(owner: begun.id, hash: one), 7: .init(owner: begun.id, hash: two)])
      #expect(await finish(wrong, of: begun.id, agent).code == "bad_format", "a chunk is not there")
      #expect(try await send(piece(2), of: begun.id, agent).status == 204)
      #expect(await finish(wrong, of: begun.id, agent).status == 204)
      #expect(await test.operation(begun.operation)["status"] == "succeeded")
      let made = await test.call(.get, "/v1/backups/monday")
      #expect(made["state"] == "available" && made["kind"] == "full" && made["operation"] == .null, "\(made)")
      #expect(made["stored_bytes"]?.intValue == 2 * Self.chunk && made["quiesced"] == true)
      #expect(await finish(wrong, of: begun.id, agent).status == 404, "it is not wanted any more")
    }
  }

  /// An image store in a bucket.
  private func bucket() async throws -> ImageContents {
    let http = HTTPClient(logger: quiet)
    let moto = try await MotoServer.running()
    let store = try S3Store(
      configuration: S3Configuration(
        endpoint: moto.endpoint, bucket: try await moto.makeBucket(http), keyPrefix: "aloft/", partBytes: 5 << 20),
      credentials: S3Credentials(accessKeyID: "AKIATEST", secretAccessKey: "s3-\(UUID().uuidString)"), http: http,
      logger: quiet)
    return ImageContents(store: store, inspector: Programs.inspector, scratch: NSTemporaryDirectory())
  }

  @Test(
    "the next one is told what to start from; each can be deleted, and what others need of it stays",
    arguments: [false, true])
  func incremental(onS3: Bool) async throws {
    try await withVolume(images: onS3 ? try await bucket() : nil) { test, agent async throws in
      let first = try await make("one", [0: 1, 1: 2], test, agent)
      let begun = try await begin("two", test, agent)
      #expect(begun.wanted.earlier == first.id && begun.wanted.base != nil)
      #expect(begun.document.snapshots.map(\.isTaken).sorted { $0 && !$1 } == [true, false])
      #expect(await test.call(.delete, "/v1/backups/one").code == "in_use")
      let read = await agent.send(.get, "backups/\(first.id)/manifest")
      #expect(BackupManifest(text: read.bytes)?.chunks == first.chunks)
      #expect(try await send(piece(3), of: begun.id, agent).status == 204)
      var chunks = first.chunks
      chunks[1] = .init(owner: begun.id, hash: try hash(piece(3)))
      #expect(await finish(manifest(chunks, .incremental), of: begun.id, agent).status == 204)
      _ = try await agent.pollOnly()
      let document = try #require(agent.newVolumes().first)
      #expect(document.snapshots.map(\.id) == [begun.wanted.snapshot] && document.backups?.isEmpty != false)
      try await agent.see([document])
      let two = await test.call(.get, "/v1/backups/two")
      #expect(two["kind"] == "incremental" && two["stored_bytes"]?.intValue == Self.chunk, "\(two)")

      let third = try await make("three", [2: 4], over: chunks, test, agent)
      #expect(try await objects(test).count == 7)
      #expect(await test.call(.delete, "/v1/backups/one").status == 204)
      try await clear(test)
      #expect(await test.call(.get, "/v1/backups/one").status == 404)
      #expect(try await objects(test).count == 5, "a chunk that others need stays, the manifest does not")
      let verified = await test.call(.post, "/v1/backups/three/verify")
      try await clear(test)
      #expect(await test.call(.get, "/v1/backups/three")["verified_at"] != .null, "\(verified)")
      #expect(await test.call(.delete, "/v1/backups/two").status == 204)
      try await clear(test)
      #expect(try await objects(test).count == 4)
      #expect(await test.call(.delete, "/v1/backups/three").status == 204)
      try await clear(test)
      #expect(try await objects(test) == [] && third.chunks.count == 3)
      #expect(try await test.database.query("SELECT 1 FROM backups").isEmpty)
      let again = try await begin("four", test, agent)
      #expect(again.wanted.base == nil && again.wanted.earlier == nil)
      #expect(await test.call(.delete, "/v1/backups/four").status == 204, "one that is being made is broken off")
      #expect(await test.operation(again.operation)["error"]?["code"] == "superseded")
      #expect(try await send(piece(1), of: again.id, agent).status == 404)
    }
  }

  @Test("one that cannot be made fails with a reason and leaves nothing; the next one goes on from the one before")
  func failures() async throws {
    try await withVolume { test, agent async throws in
      let first = try await make("one", [0: 1], test, agent)
      var begun = try await begin("broken", test, agent)
      #expect(try await send(piece(2), of: begun.id, agent).status == 204)
      var report = ExportReport(
        activity: "making the backup failed", problem: .init(code: .hypervisorRefused, detail: "qemu-nbd failed"))
      #expect(try await agent.send(.put, "backups/\(begun.id)/progress", bytes: JSONCoder.encode(report)).status == 204)
      #expect(
        await test.operation(begun.operation)["waiting_for"]?.stringValue?.contains("qemu-nbd failed") == true)
      report.problem?.code = .volumeDamaged
      #expect(try await agent.send(.put, "backups/\(begun.id)/progress", bytes: JSONCoder.encode(report)).status == 204)
      #expect(await test.operation(begun.operation)["error"]?["code"] == "volume_damaged")
      try await clear(test)
      let failed = await test.call(.get, "/v1/backups/broken")
      #expect(failed["state"] == "failed" && failed["stored_bytes"] == 0, "\(failed)")
      #expect(try await objects(test).count == 2)
      try await obey(test, agent)

      let quota = await test.call(.put, "/v1/projects/default/quotas", ["backup_bytes": 1_500_000, "backups": 3])
      try #require(quota.status == 200, "\(quota)")
      begun = try await begin("large", test, agent)
      #expect(begun.wanted.earlier == first.id && begun.wanted.base != nil)
      #expect(try await send(piece(2), of: begun.id, agent).code == "quota_exceeded")
      #expect(await test.operation(begun.operation)["error"]?["code"] == "quota_exceeded")
      #expect(await test.call(.post, "/v1/backups", ["name": "more", "volume": "data"]).code == "quota_exceeded")
      for name in ["broken", "large"] { #expect(await test.call(.delete, "/v1/backups/\(name)").status == 204) }
      try await obey(test, agent)
    }
  }

  @Test("what a backup holds becomes a new volume's, or that of one that no guest has")
  func restored() async throws {
    try await withVolume { test, agent async throws in
      let first = try await make("one", [0: 1], test, agent)
      let small = await test.call(.post, "/v1/volumes", ["name": "new", "backup": "nothing"])
      #expect(small.place == "/backup", "\(small)")
      let both = await test.call(.post, "/v1/volumes", ["name": "new", "backup": "one", "volume": "data"])
      #expect(both.place == "/backup", "\(both)")
      let answer = await test.call(.post, "/v1/volumes", ["name": "new", "backup": "one"])
      try #require(answer.status == 202, "\(answer)")
      #expect(answer["size_gib"] == 1)
      #expect(await test.call(.delete, "/v1/backups/one").code == "in_use")
      _ = try await agent.pollOnly()
      let document = try #require(agent.newVolumes().first)
      #expect(document.source?.backup == first.id)
      let chunk = try #require(first.chunks[0])
      #expect(await agent.send(.get, "backups/\(first.id)/manifest").status == 200)
      let bytes = await agent.send(.get, "backups/\(first.id)/chunks/\(chunk.owner)/\(chunk.hash)")
      #expect(bytes.bytes == piece(1))
      let other = try await FakeAgent.join(test, "node-b")
      #expect(await other.send(.get, "backups/\(first.id)/manifest").status == 404)
      try await agent.see([document])
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/new")["state"] == "available")
      #expect(await agent.send(.get, "backups/\(first.id)/manifest").status == 404, "it is not needed any more")

      let over = await test.call(.post, "/v1/volumes/data/restore", ["backup": "one"])
      try #require(over.status == 202, "\(over)")
      #expect(over["operation"]?["kind"] == "volume.restore")
      #expect(await test.call(.post, "/v1/volumes/data/restore", ["backup": "one"]).code == "wrong_state")
      _ = try await agent.pollOnly()
      let begun = try #require(agent.newVolumes().first { $0.restoring != nil })
      #expect(begun.restoring?.backup == first.id && begun.epoch == 1)
      try await agent.see([begun])
      try await test.settle()
      #expect(await test.call(.get, "/v1/volumes/data")["operation"] == .null)
      #expect(await test.call(.delete, "/v1/backups/one").status == 204)
    }
  }

  @Test("a damaged backup is found out by verifying and by restoring, which leaves a volume as it was and no new one")
  func damage() async throws {
    try await withVolume { test, agent async throws in
      let first = try await make("one", [0: 1, 1: 2], test, agent)
      for (path, body) in [
        ("/v1/volumes", ["name": "new", "backup": "one"] as JSONValue), ("/v1/volumes/data/restore", ["backup": "one"]),
      ] {
        let answer = await test.call(.post, path, body)
        try #require(answer.status == 202, "\(answer)")
        let operation = try #require(answer["operation"]?["id"]?.stringValue.flatMap { OperationID($0) })
        _ = try await agent.pollOnly()
        let document = try #require(agent.newVolumes().first { $0.source?.backup != nil || $0.restoring != nil })
        let isNew = document.source?.backup != nil
        var seen = document
        seen.epoch = 0
        try await agent.see(
          [seen], isNew ? .preparing : .ready, problem: .init(code: .backupDamaged, detail: "1 of 2 parts is missing"))
        try await test.settle()
        let ended = await test.operation(operation)
        #expect(ended["error"]?["code"] == "backup_damaged", "\(ended)")
        _ = try await agent.pollOnly()
        let after = try #require(agent.newVolumes().first { $0.volume == document.volume })
        #expect(isNew ? after.deleted : after.restoring == .init(backup: nil) && after.epoch == 1)
        try await agent.see([after])
        try await test.settle()
      }
      #expect(await test.call(.get, "/v1/volumes/new").status == 404)
      #expect(await test.call(.get, "/v1/volumes/data")["state"] == "available")

      let key = try #require(try await objects(test).first { $0.hasSuffix("\(try hash(piece(2)))") })
      let path = test.imageDirectory + "/" + key
      try Data(piece(7)).write(to: URL(fileURLWithPath: path))
      _ = await test.call(.post, "/v1/backups/one/verify")
      try await clear(test)
      let damaged = await test.call(.get, "/v1/backups/one")
      #expect(damaged["state"] == "damaged" && damaged["damaged_bytes"]?.intValue == Self.chunk, "\(damaged)")
      let refused = await test.call(.post, "/v1/volumes", ["name": "new", "backup": "one"])
      #expect(refused.code == "backup_damaged" && refused.place == "/backup", "\(refused)")
      let begun = try await begin("two", test, agent)
      #expect(begun.wanted.earlier == nil, "nothing is built on what is damaged")
      #expect(await test.call(.delete, "/v1/backups/two").status == 204)

      try FileManager.default.removeItem(atPath: path)
      #expect(try await test.findings().contains { $0.contains("missing") })
      try Data(piece(2)).write(to: URL(fileURLWithPath: path))
      _ = await test.call(.post, "/v1/backups/one/verify")
      try await clear(test)
      #expect(await test.call(.get, "/v1/backups/one")["state"] == "available", "it was put back")
      #expect(first.chunks.count == 2)
    }
  }

  @Test("what is in use, in another kind of pool or too small is refused, with the obstacle; backups outlive volumes")
  func refusals() async throws {
    try await withVolume { test, agent async throws in
      try await test.makeImage()
      _ = await test.call(.post, "/v1/vms", TestPlane.body("web"))
      try await obey(test, agent)
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"])
      try await obey(test, agent)
      let first = try await make("one", [0: 1], test, agent)
      let running = await test.call(.post, "/v1/volumes/data/restore", ["backup": "one"])
      #expect(running.code == "in_use" && running.description.contains("web"), "\(running)")
      #expect(await test.call(.post, "/v1/backups", ["name": "one", "volume": "data"]).code == "name_taken")
      #expect(await test.call(.post, "/v1/backups", ["name": "x", "volume": "nothing"]).place == "/volume")
      #expect(await test.call(.post, "/v1/backups?dry_run=true", ["name": "x", "volume": "data"]).status == 200)
      #expect(await test.call(.delete, "/v1/backups/one?dry_run=true").status == 204)
      #expect(await test.call(.get, "/v1/backups/one").status == 200)
      _ = try await agent.pollOnly()
      _ = agent.newVolumes()

      _ = await test.call(.post, "/v1/volumes/data/detach")
      try await obey(test, agent)
      _ = await test.call(.delete, "/v1/volumes/data")
      try await obey(test, agent)
      #expect(await test.call(.get, "/v1/volumes/data").status == 404)
      #expect(await test.call(.get, "/v1/backups?volume=data")["items"]?.arrayValue?.count == 1)
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "backup": "one"])
      try await obey(test, agent)
      #expect(await test.call(.get, "/v1/volumes/data")["state"] == "available")
      #expect(first.chunks.count == 1)
    }
  }

  @Test("a project that is deleted with all that it holds takes its backups and what is stored of them along")
  func projectRemoval() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 1])
      try await obey(test, agent)
      let first = try await make("one", [0: 1], test, agent)
      try await make("two", [1: 2], over: first.chunks, test, agent)
      let busy = await test.call(.delete, "/v1/projects/default")
      #expect(busy.code == "in_use" && busy.description.contains("2 backups"), "\(busy)")
      let accepted = await test.call(.delete, "/v1/projects/default?cascade=true")
      try #require(accepted.status == 202, "\(accepted)")
      try await test.settle()
      try await obey(test, agent)
      try await clear(test)
      try await test.settle()
      #expect(await test.call(.get, "/v1/projects/default").status == 404)
      #expect(try await objects(test) == [])
      #expect(try await test.findings() == [])
    }
  }
}
