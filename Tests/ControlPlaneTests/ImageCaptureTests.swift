import AloftModel
import Foundation
import JSON
import Testing

@testable import ControlPlane

@Suite("Images that are made of volumes")
struct ImageCaptureTests {
  private static let content = [UInt8](repeating: 9, count: 8192)

  /// A plane with one node and a VM that has two volumes, stopped.
  private func withVM(_ body: (TestPlane, FakeAgent) async throws -> Void) async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = await test.call(.post, "/v1/vms", TestPlane.body("web", ("power", "stopped")))
      _ = await test.call(.post, "/v1/volumes", ["name": "data", "size_gib": 2])
      try await obey(test, agent)
      _ = await test.call(.post, "/v1/volumes/data/attach", ["vm": "web"])
      try await obey(test, agent)
      try await body(test, agent)
      try await clear(test)
      try await test.settle()
      #expect(try await test.findings() == [])
      #expect(try await test.database.query("SELECT 1 FROM image_captures").isEmpty)
    }
  }

  private func obey(_ test: TestPlane, _ agent: FakeAgent) async throws {
    try await agent.obey()
    try await test.settle()
  }

  /// Does what is due about images.
  private func clear(_ test: TestPlane, on replica: ControlPlane? = nil) async throws {
    var isDone = false
    while !isDone {
      try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'image'")
      let count = try await (replica ?? test.plane).stepImages()
      let left = try await test.database.query("SELECT 1 FROM image_captures WHERE ended_at IS NOT NULL")
      isDone = count == 0 || left.isEmpty
    }
  }

  private func capture(_ test: TestPlane, _ source: JSONValue, _ name: String = "copy") async throws -> (
    image: ImageID, operation: OperationID
  ) {
    let answer = await test.call(.post, "/v1/images", ["name": .string(name), "source": source])
    try #require(answer.status == 202, "\(answer)")
    #expect(answer["operation"]?["kind"] == "image.capture" && answer["state"] == "awaiting_upload")
    return (
      try #require(answer["id"]?.stringValue.flatMap { ImageID($0) }),
      try #require(answer["operation"]?["id"]?.stringValue.flatMap { OperationID($0) })
    )
  }

  private func export(of image: ImageID, _ agent: FakeAgent) async throws -> VolumeAssignment {
    _ = try await agent.pollOnly()
    let documents = agent.newVolumes()
    return try #require(documents.first { $0.exports?.contains { $0.image == image } == true }, "\(documents)")
  }

  private func send(
    _ bytes: some Sequence<UInt8>, of image: ImageID, at offset: Int, _ agent: FakeAgent,
    on replica: ControlPlane? = nil
  ) async -> Answer {
    let digest = Data(hexadecimalHash(Self.content).hexadecimalBytes).base64EncodedString()
    return await agent.send(
      .patch, "images/\(image)/content", bytes: Array(bytes),
      headers: ["Upload-Offset": "\(offset)", "Upload-Complete": "?1", "Repr-Digest": "sha-256=:\(digest):"],
      on: replica)
  }

  @Test("a volume's node is told to keep what it holds and to send it; then it lets go, and the image is ready")
  func whole() async throws {
    try await withVM { test, agent async throws in
      let (image, operation) = try await capture(test, ["volume": "data"])
      let document = try await export(of: image, agent)
      let own = try #require(document.snapshots.first)
      #expect(!own.isTaken && own.quiesce && own.volumes == [document.volume])
      #expect(document.exports == [.init(image: image, snapshot: own.id)])
      #expect(await test.call(.get, "/v1/snapshots")["items"] == [], "nobody sees it")
      #expect(await test.upload([1], to: "copy").code == "wrong_state")
      try await agent.see([document])
      try await test.settle()

      let report = ExportReport(activity: "making the image", bytesDone: 1, bytesTotal: 4)
      #expect(try await agent.send(.put, "images/\(image)/export", bytes: JSONCoder.encode(report)).status == 204)
      #expect(await test.operation(operation)["progress"] == 25)
      let head = await agent.send(.head, "images/\(image)/content")
      #expect(head.status == 204 && head.header("Upload-Offset") == "0", "\(head)")
      let sent = await send(Self.content, of: image, at: 0, agent)
      #expect(sent.status == 204, "\(sent)")
      #expect(await test.operation(operation)["status"] == "succeeded")
      let ready = await test.call(.get, "/v1/images/copy")
      #expect(ready["state"] == "ready" && ready["operation"] == .null, "\(ready)")
      #expect(ready["sha256"]?.stringValue == hexadecimalHash(Self.content))
      #expect(await agent.send(.head, "images/\(image)/content").status == 404, "it is not wanted any more")

      try await clear(test)
      _ = try await agent.pollOnly()
      let after = try #require(agent.newVolumes().first { $0.volume == document.volume })
      #expect(after.snapshots.isEmpty && after.exports?.isEmpty != false && after.generation > document.generation)
      try await agent.see([after])
    }
  }

  @Test("what has come is gone on with at another replica; a file that was made anew begins anew")
  func resumed() async throws {
    try await withVM { test, agent async throws in
      let (image, operation) = try await capture(test, ["volume": "web-boot"])
      try await agent.see([try await export(of: image, agent)])
      let writer = try await ImageUploadWriter.open(image, .anew(size: 8192), plane: test.plane.plane)
      try await writer.append(Array(Self.content.prefix(3000)))
      #expect(await writer.close() == 3000)
      let replica = try test.replica()
      let head = await agent.send(.head, "images/\(image)/content", on: replica)
      #expect(head.header("Upload-Offset") == "3000", "\(head)")
      let wrong = await send(Self.content.dropFirst(10), of: image, at: 10, agent, on: replica)
      #expect(wrong.code == "upload_offset_mismatch", "\(wrong)")
      #expect(await agent.send(.delete, "images/\(image)/content", on: replica).status == 204)
      #expect(await agent.send(.head, "images/\(image)/content").header("Upload-Offset") == "0")
      #expect(await send(Self.content, of: image, at: 0, agent, on: replica).status == 204)
      #expect(await test.operation(operation)["status"] == "succeeded")
    }
  }

  @Test("a content that came in whole before its replica died is finished by another one")
  func orphaned() async throws {
    try await withVM { test, agent async throws in
      let (image, operation) = try await capture(test, ["volume": "data"])
      try await agent.see([try await export(of: image, agent)])
      let plane = test.plane.plane
      let writer = try await ImageUploadWriter.open(image, .anew(size: 8192), plane: plane)
      try await writer.append(Self.content)
      _ = try await writer.finish(expecting: nil)
      await writer.close()
      try await clear(test, on: try test.replica())
      #expect(await test.operation(operation)["status"] == "succeeded")
      #expect(await test.call(.get, "/v1/images/copy")["state"] == "ready")
    }
  }

  @Test("of a snapshot of several volumes one is named, and the snapshot stays as long as it is read")
  func ofSnapshot() async throws {
    try await withVM { test, agent async throws in
      _ = await test.call(.post, "/v1/snapshots", ["name": "before", "vm": "web"])
      try await obey(test, agent)
      let which = await test.call(.post, "/v1/images", ["name": "copy", "source": ["snapshot": "before"]])
      #expect(which.place == "/source/volume", "\(which)")
      let (image, operation) = try await capture(test, ["snapshot": "before", "volume": "data"])
      let document = try await export(of: image, agent)
      #expect(document.snapshots.count == 1 && document.exports?.first?.snapshot == document.snapshots.first?.id)
      let kept = await test.call(.delete, "/v1/snapshots/before")
      #expect(kept.code == "in_use" && kept.description.contains("copy"), "\(kept)")
      #expect(await test.call(.post, "/v1/images/copy/cancel-fetch").status == 200)
      let ended = await test.operation(operation)
      #expect(ended["error"]?["code"] == "cancelled", "\(ended)")
      #expect(await send(Self.content, of: image, at: 0, agent).status == 404)
      try await clear(test)
      #expect(await test.call(.delete, "/v1/snapshots/before").status == 202)
      try await obey(test, agent)
    }
  }

  @Test("it fails with a reason: the volume is damaged or gone, the content is no image, the quota is used up")
  func failures() async throws {
    try await withVM { test, agent async throws in
      var made = try await capture(test, ["volume": "data"], "damaged")
      try await agent.see([try await export(of: made.image, agent)])
      var report = ExportReport(
        activity: "making the image failed", problem: .init(code: .hypervisorRefused, detail: "qemu-img failed"))
      #expect(try await agent.send(.put, "images/\(made.image)/export", bytes: JSONCoder.encode(report)).status == 204)
      let again = await test.operation(made.operation)
      #expect(again["waiting_for"]?.stringValue?.contains("qemu-img failed") == true, "\(again)")
      report.problem?.code = .volumeDamaged
      #expect(try await agent.send(.put, "images/\(made.image)/export", bytes: JSONCoder.encode(report)).status == 204)
      #expect(await test.operation(made.operation)["error"]?["code"] == "volume_damaged")
      try await clear(test)

      made = try await capture(test, ["volume": "data"], "invalid")
      try await agent.see([try await export(of: made.image, agent)])
      var hostile = Self.content
      hostile.replaceSubrange(0..<8, with: [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 9])
      let refused = await agent.send(
        .patch, "images/\(made.image)/content", bytes: hostile,
        headers: ["Upload-Offset": "0", "Upload-Complete": "?1"])
      #expect(refused.code == "image_invalid", "\(refused)")
      #expect(await test.operation(made.operation)["error"]?["code"] == "image_invalid")
      try await clear(test)

      let quota = await test.call(.put, "/v1/projects/default/quotas", ["image_bytes": 4096])
      try #require(quota.status == 200, "\(quota)")
      made = try await capture(test, ["volume": "data"], "large")
      try await agent.see([try await export(of: made.image, agent)])
      let large = await send(Self.content, of: made.image, at: 0, agent)
      #expect(large.code == "quota_exceeded", "\(large)")
      #expect(await test.operation(made.operation)["error"]?["code"] == "quota_exceeded")
      try await clear(test)

      made = try await capture(test, ["volume": "web-boot"], "orphan")
      #expect(await test.call(.delete, "/v1/vms/web").status == 202)
      try await clear(test)
      #expect(await test.operation(made.operation)["error"]?["code"] == "superseded")
      try await obey(test, agent)
    }
  }

  @Test("bad sources are refused with their places, and another node, or another project, gets nothing")
  func refusals() async throws {
    try await withVM { test, agent async throws in
      let bad: [(JSONValue, String)] = [
        (["volume": "nothing"], "/source/volume"), (["snapshot": "nothing"], "/source/snapshot"),
        (["volume": "data", "url": "https://images.example/a"], "/source"),
      ]
      for (source, place) in bad {
        let answer = await test.call(.post, "/v1/images", ["name": "copy", "source": source])
        #expect(answer.place == place, "\(answer)")
      }
      let hashed = await test.call(
        .post, "/v1/images",
        ["name": "copy", "source": ["volume": "data"], "sha256": .string(hexadecimalHash([1]))])
      #expect(hashed.place == "/sha256", "\(hashed)")
      _ = try await agent.pollOnly()
      _ = agent.newVolumes()
      let tried = await test.call(.post, "/v1/images?dry_run=true", ["name": "copy", "source": ["volume": "data"]])
      #expect(tried.status == 200, "\(tried)")
      _ = try await agent.pollOnly()
      #expect(agent.newVolumes().isEmpty, "a dry run tells no node")

      let (image, _) = try await capture(test, ["volume": "data"])
      let other = try await FakeAgent.join(test, "node-b")
      #expect(await other.send(.head, "images/\(image)/content").status == 404)
      #expect(await send(Self.content, of: image, at: 0, other).status == 404)
      #expect(await test.call(.delete, "/v1/volumes/data").code == "in_use")
      #expect(await test.call(.delete, "/v1/images/copy").status == 204)
      #expect(await agent.send(.head, "images/\(image)/content").status == 404)
    }
  }
}

extension String {
  fileprivate var hexadecimalBytes: [UInt8] {
    stride(from: 0, to: count, by: 2).compactMap { UInt8(dropFirst($0).prefix(2), radix: 16) }
  }
}
