import AloftModel
import ControlPlane
import DiskImageTestSupport
import Foundation
import JSON
import Testing

@Suite("Images")
struct ImageTests {
  /// What is in the image store, whole or not.
  private func stored(_ test: TestPlane) -> [String] {
    let names = FileManager.default.subpaths(atPath: test.imageDirectory) ?? []
    return names.filter { $0.hasPrefix("images/") || $0.hasPrefix(".uploads/") }
  }

  @Test("a raw image is announced, uploaded and ready")
  func raw() async throws {
    try await TestPlane.with { test async throws in
      let created = await test.call(
        .post, "/v1/images", ["name": "tiny", "labels": ["os": "alpine"], "architecture": "x86_64"])
      #expect(created.status == 201, "\(created)")
      #expect(created["state"] == "awaiting_upload")
      let id = try #require(created["id"]?.stringValue)
      #expect(created.header("Location") == "/v1/images/\(id)")
      let bytes = [UInt8](repeating: 9, count: 2048)
      let ready = await test.upload(bytes, to: "tiny")
      #expect(ready.status == 200, "\(ready)")
      #expect(ready["state"] == "ready")
      #expect(ready["format"] == "raw")
      #expect(ready["size_bytes"] == 2048)
      #expect(ready["virtual_size_bytes"] == 2048)
      #expect(ready["sha256"]?.stringValue == hexadecimalHash(bytes))
      #expect(await test.call(.get, "/v1/images/\(id)").json == ready.json)
      #expect(stored(test).count == 1)
      #expect(try await test.findings() == [])
      let uuid = try #require(ImageID(id)).uuid
      #expect(try await test.eventKinds(uuid) == ["image.created", "image.ready"])
    }
  }

  @Test("a qcow2 image tells its virtual size")
  func qcow2Header() async throws {
    try await TestPlane.with { test async throws in
      let answer = try await test.makeImage(bytes: QCOW2Bytes(virtualSize: 512 << 20).bytes)
      #expect(answer["format"] == "qcow2")
      #expect(answer["virtual_size_bytes"]?.intValue == 512 << 20)
      #expect(await test.call(.patch, "/v1/images/tiny", ["min_disk_gib": 3]).status == 200)
      let small = await test.call(.post, "/v1/vms", TestPlane.body("small"))
      #expect(small.code == "out_of_range")
      #expect(small.place == "/disk_gib")
    }
  }

  @Test("another content than was announced is refused, nothing is kept, and the right one can be sent again")
  func checksum() async throws {
    try await TestPlane.with { test async throws in
      let right = [UInt8](repeating: 1, count: 600)
      let created = await test.call(
        .post, "/v1/images", ["name": "tiny", "sha256": .string(hexadecimalHash(right))])
      #expect(created.status == 201, "\(created)")
      let wrong = await test.upload([UInt8](repeating: 2, count: 600), to: "tiny")
      #expect(wrong.status == 422)
      #expect(wrong.code == "checksum_mismatch")
      #expect(stored(test) == [])
      #expect(await test.call(.get, "/v1/images/tiny")["state"] == "awaiting_upload")
      #expect(await test.upload(right, to: "tiny").status == 200)
      #expect(try await test.findings() == [])
    }
  }

  @Test("each hostile image is refused with its own code, and nothing of it is kept")
  func hostile() async throws {
    try await TestPlane.with { test async throws in
      #expect(await test.call(.post, "/v1/images", ["name": "tiny"]).status == 201)
      #expect(HostileImage.all.count > 20)
      for image in HostileImage.all {
        let answer = await test.upload(image.bytes, to: "tiny")
        #expect(answer.status == 422 && answer.code == "image_invalid", "\(image): \(answer)")
        #expect(answer["image"]?["code"]?.stringValue == image.code.rawValue, "\(image): \(answer)")
      }
      #expect(stored(test) == [])
      #expect(await test.call(.get, "/v1/images/tiny")["state"] == "awaiting_upload")
      #expect(try await test.findings() == [])
    }
  }

  @Test("a second content is refused, as an image never changes")
  func twice() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let again = await test.upload([UInt8](repeating: 3, count: 512), to: "tiny")
      #expect(again.status == 409)
      #expect(again.code == "wrong_state")
      #expect(stored(test).count == 1)
    }
  }

  @Test("of two uploads at once one becomes the content, and the other leaves no file")
  func race() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      _ = await test.call(.post, "/v1/images", ["name": "tiny"])
      let statuses = await withTaskGroup(of: Int.self) { group in
        for value in 0..<4 {
          group.addTask { await test.upload([UInt8](repeating: UInt8(value), count: 4096), to: "tiny").status }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(statuses.sorted() == [200, 409, 409, 409])
      #expect(stored(test).count == 1)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a name is taken once, and free again behind a deletion, which takes the file along")
  func names() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let taken = await test.call(.post, "/v1/images", ["name": "tiny"])
      #expect(taken.status == 409)
      #expect(taken.code == "name_taken")
      #expect(taken.place == "/name")
      #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
      #expect(stored(test) == [])
      #expect(await test.call(.get, "/v1/images/tiny").code == "not_found")
      #expect(await test.call(.post, "/v1/images", ["name": "tiny"]).status == 201)
    }
  }

  @Test("an image is renamed and relabelled; another's name is refused; a stale If-Match is refused")
  func update() async throws {
    try await TestPlane.with { test async throws in
      let image = try await test.makeImage()
      _ = await test.call(.post, "/v1/images", ["name": "other"])
      let etag = try #require(image.header("ETag"))
      let changed = await test.call(
        .patch, "/v1/images/tiny", ["name": "small", "labels": ["a": "b"]], headers: ["If-Match": etag])
      #expect(changed.status == 200, "\(changed)")
      #expect(changed["name"] == "small")
      #expect(changed["labels"] == ["a": "b"])
      let stale = await test.call(.patch, "/v1/images/small", ["labels": [:]], headers: ["If-Match": etag])
      #expect(stale.status == 412)
      #expect(await test.call(.patch, "/v1/images/small", ["name": "other"]).code == "name_taken")
    }
  }

  @Test("an image that a VM boots from is not deleted")
  func inUse() async throws {
    try await TestPlane.with { test async throws in
      try await test.makeImage()
      let agent = try await FakeAgent.join(test)
      _ = try await test.createVM("web")
      let answer = await test.call(.delete, "/v1/images/tiny")
      #expect(answer.status == 409)
      #expect(answer.code == "in_use")
      #expect(answer["detail"]?.stringValue?.contains("web") == true)
      _ = await test.call(.delete, "/v1/vms/web")
      try await agent.obey()
      try await test.settle()
      #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
    }
  }
}
