import AloftModel
import DiskImageTestSupport
import Foundation
import HTTPClient
import HTTPTypes
import JSON
import ObjectStorage
import ObjectStorageTestSupport
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Uploads that are gone on with")
struct ImageUploadTests {
  /// A raw disk in which no piece is like another.
  private static func content(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 9) }
  }

  private func head(_ test: TestPlane, _ image: String = "tiny") async -> (offset: Int?, complete: String?) {
    let answer = await test.call(.head, "/v1/images/\(image)/content")
    return (answer.header("Upload-Offset").flatMap { Int($0) }, answer.header("Upload-Complete"))
  }

  @Test("an upload in pieces says where it goes on, and is the image when the last one has come")
  func pieces() async throws {
    try await TestPlane.with { test async throws in
      _ = await test.call(.post, "/v1/images", ["name": "tiny"])
      let bytes = Self.content(3000)
      #expect(await head(test) == (0, "?0"))
      let first = await test.append(bytes[..<1000], to: "tiny", at: 0)
      #expect(first.status == 204 && first.header("Upload-Offset") == "1000", "\(first)")
      #expect(await head(test) == (1000, "?0"))
      #expect(await test.call(.get, "/v1/images/tiny")["stored_bytes"] == 1000)
      #expect(await test.call(.get, "/v1/images/tiny")["state"] == "awaiting_upload")
      #expect(await test.append(bytes[1000..<2500], to: "tiny", at: 1000, on: try test.replica()).status == 204)
      let last = await test.append(bytes[2500...], to: "tiny", at: 2500, isLast: true)
      #expect(last.status == 200 && last["state"] == "ready", "\(last)")
      #expect(last["sha256"]?.stringValue == hexadecimalHash(bytes))
      #expect(await head(test) == (3000, "?1"))
      #expect(try await test.findings() == [])
    }
  }

  @Test("a wrong offset is refused with the right one, and the bytes are still wanted there")
  func wrongOffset() async throws {
    try await TestPlane.with { test async throws in
      _ = await test.call(.post, "/v1/images", ["name": "tiny"])
      let bytes = Self.content(2000)
      let early = await test.append(bytes[500...], to: "tiny", at: 500)
      #expect(early.status == 409 && early.code == "upload_offset_mismatch" && early["upload_offset"] == 0, "\(early)")
      #expect(await test.append(bytes[..<700], to: "tiny", at: 0).status == 204)
      for offset in [0, 699, 701, 5000] {
        let answer = await test.append(bytes[700...], to: "tiny", at: offset, isLast: true)
        #expect(answer.status == 409 && answer["upload_offset"] == 700, "\(offset): \(answer)")
        #expect(answer.header("Upload-Offset") == "700")
      }
      #expect(await test.append(bytes[700...], to: "tiny", at: 700, isLast: true).status == 200)
    }
  }

  @Test("an upload that is cut at every tenth per cent is gone on with at another replica, and the image is whole")
  func cuts() async throws {
    let bytes = Self.content(1 << 20)
    try await TestPlane.with(poolSize: 4) { test async throws in
      let other = try test.replica()
      try await test.withServer { reach async throws in
        for tenth in 1...9 {
          let name = "cut-\(tenth)"
          _ = await test.call(.post, "/v1/images", ["name": .string(name), "sha256": .string(hexadecimalHash(bytes))])
          let cut = bytes.count * tenth / 10
          var request = test.request("/v1/images/\(name)/content", of: reach)
          request.method = .put
          request.headers[.contentType] = "application/octet-stream"
          struct Cut: Error {}
          let body = HTTPClientBody.produced(length: Int64(bytes.count)) { writer in
            for start in stride(from: 0, to: cut, by: 65_536) {
              try await writer.write(Array(bytes[start..<min(cut, start + 65_536)]))
            }
            // All that was written is to arrive before the connection ends.
            try await eventually("the bytes are on their way") {
              let kept = await test.call(.get, "/v1/images/\(name)")["stored_bytes"]?.intValue ?? 0
              return kept >= 0
            }
            throw Cut()
          }
          await #expect(throws: HTTPClientError.self) { try await reach.client.upload(request, body: body) }
          var answer = Answer(status: 0, headers: [:], bytes: [], json: .null)
          try await eventually("it is gone on with") {
            let offset = await head(test, name).offset ?? 0
            answer = await test.append(bytes[offset...], to: name, at: offset, isLast: true, on: other)
            return answer.status == 200
          }
          #expect(answer["sha256"]?.stringValue == hexadecimalHash(bytes), "\(tenth): \(answer)")
        }
      }
      #expect(try await test.findings() == [])
    }
  }

  @Test("shorter than announced is incomplete and gone on with; longer is refused; another checksum drops it")
  func lengths() async throws {
    try await TestPlane.with { test async throws in
      let bytes = Self.content(2000)
      _ = await test.call(.post, "/v1/images", ["name": "tiny", "sha256": .string(hexadecimalHash(bytes))])
      let short = await test.append(
        bytes[..<1500], to: "tiny", at: 0, isLast: true, headers: ["Upload-Length": "2000"])
      #expect(short.status == 422 && short.code == "upload_incomplete" && short["upload_offset"] == 1500, "\(short)")
      let long = await test.append(bytes[1500...] + [1], to: "tiny", at: 1500, isLast: true)
      #expect(long.code == "body_too_large", "\(long)")
      let other = await test.append(
        bytes[1500...], to: "tiny", at: 1500, isLast: true, headers: ["Upload-Length": "2500"])
      #expect(other.code == "out_of_range" && other.place == "Upload-Length", "\(other)")
      let wrong = await test.append([UInt8](repeating: 0, count: 500), to: "tiny", at: 1500, isLast: true)
      #expect(wrong.status == 422 && wrong.code == "checksum_mismatch", "\(wrong)")
      #expect(await head(test) == (0, "?0"))
      #expect(await test.call(.get, "/v1/images/tiny")["stored_bytes"] == 0)
      #expect(await test.upload(bytes, to: "tiny").status == 200)
      #expect(try await test.findings() == [])
    }
  }

  @Test("Repr-Digest is checked, and one that differs from what was announced is refused at once")
  func digest() async throws {
    try await TestPlane.with { test async throws in
      let bytes = Self.content(900)
      func field(_ bytes: [UInt8]) -> String {
        let hash = hexadecimalHash(bytes)
        let raw = stride(from: 0, to: 64, by: 2).compactMap { UInt8(hash.dropFirst($0).prefix(2), radix: 16) }
        return "sha-256=:\(Data(raw).base64EncodedString()):"
      }
      _ = await test.call(.post, "/v1/images", ["name": "a"])
      #expect(await test.upload(bytes, to: "a", headers: ["Repr-Digest": field([1])]).code == "checksum_mismatch")
      #expect(await test.upload(bytes, to: "a", headers: ["Repr-Digest": field(bytes)]).status == 200)
      _ = await test.call(.post, "/v1/images", ["name": "b", "sha256": .string(hexadecimalHash([1]))])
      #expect(await test.upload(bytes, to: "b", headers: ["Repr-Digest": field(bytes)]).code == "checksum_mismatch")
      #expect(await test.upload(bytes, to: "b", headers: ["Repr-Digest": "sha-256=:x:"]).code == "bad_format")
    }
  }

  @Test("DELETE begins anew, and a deleted image takes what has come along")
  func discard() async throws {
    try await TestPlane.with { test async throws in
      let bytes = Self.content(1200)
      _ = await test.call(.post, "/v1/images", ["name": "tiny"])
      #expect(await test.append(bytes[..<600], to: "tiny", at: 0).status == 204)
      #expect(await test.call(.delete, "/v1/images/tiny/content").status == 204)
      #expect(await head(test) == (0, "?0"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: test.imageDirectory + "/.uploads") == [])
      #expect(await test.append(bytes[..<600], to: "tiny", at: 0).status == 204)
      #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
      #expect(try FileManager.default.contentsOfDirectory(atPath: test.imageDirectory + "/.uploads") == [])
      #expect(try await test.findings() == [])
    }
  }

  @Test("one sends at a time; whoever has died frees the upload when the lease ends")
  func lease() async throws {
    try await TestPlane.with { test async throws in
      let bytes = Self.content(1200)
      _ = await test.call(.post, "/v1/images", ["name": "tiny"])
      #expect(await test.append(bytes[..<600], to: "tiny", at: 0).status == 204)
      func hold(_ until: SQL) async throws {
        try await test.database.execute(
          "UPDATE image_uploads SET writer = gen_random_uuid(), writer_until = aloft_now() + \(fragment: until)")
      }
      try await hold("interval '1 hour'")
      for answer in [
        await test.append(bytes[600...], to: "tiny", at: 600, isLast: true), await test.upload(bytes, to: "tiny"),
        await test.call(.delete, "/v1/images/tiny/content"),
      ] {
        #expect(answer.status == 409 && answer.code == "upload_in_use", "\(answer)")
      }
      try await hold("interval '-1 second'")
      #expect(await test.append(bytes[600...], to: "tiny", at: 600, isLast: true).status == 200)
    }
  }

  @Test("what is durable counts against the quota of image bytes, and an upload ends where that is reached")
  func quota() async throws {
    try await TestPlane.with { test async throws in
      let bytes = Self.content(4000)
      let set = await test.call(.put, "/v1/projects/default/quotas", ["image_bytes": 3000])
      #expect(set.status == 200, "\(set)")
      for name in ["a", "b"] { _ = await test.call(.post, "/v1/images", ["name": .string(name)]) }
      #expect(await test.append(bytes[..<2000], to: "a", at: 0).status == 204)
      #expect(await test.upload(Array(bytes[..<1500]), to: "b").code == "quota_exceeded")
      #expect(await test.append(bytes[2000...], to: "a", at: 2000, isLast: true).code == "quota_exceeded")
      #expect(await head(test, "a").offset == 2000)
      #expect(await test.append(bytes[2000..<2500], to: "a", at: 2000, isLast: true).status == 200)
      #expect(try await test.findings() == [])
    }
  }

  @Test("a content that was whole when its replica died is finished by another, also when it was an object already")
  func orphaned() async throws {
    let bytes = Self.content(5000)
    for isObject in [false, true] {
      try await TestPlane.with { test async throws in
        _ = await test.call(.post, "/v1/images", ["name": "tiny"])
        #expect(await test.append(bytes, to: "tiny", at: 0).status == 204)
        // As a replica leaves it that dies behind the last byte, or behind the object's naming.
        try await test.database.execute(
          """
          UPDATE image_uploads SET sha256 = \(hexadecimalHash(bytes)), size_bytes = 5000,
                                   writer = gen_random_uuid(), writer_until = aloft_now() - interval '1 second'
          """)
        if isObject {
          let content: UUID = try #require(try await test.database.one("SELECT content FROM image_uploads")?.get(0))
          let uploads = test.imageDirectory + "/.uploads"
          let file = try #require(try FileManager.default.contentsOfDirectory(atPath: uploads).first)
          try FileManager.default.createDirectory(
            atPath: test.imageDirectory + "/images", withIntermediateDirectories: true)
          try FileManager.default.moveItem(
            atPath: uploads + "/" + file, toPath: test.imageDirectory + "/images/\(content.uuidString.lowercased())")
        }
        try await test.database.execute(
          "INSERT INTO work (kind, id, due_at) SELECT 'image', image_id, aloft_now() FROM image_uploads")
        #expect(try await test.plane.stepImages() == 1)
        let image = await test.call(.get, "/v1/images/tiny")
        #expect(image["state"] == "ready" && image["sha256"]?.stringValue == hexadecimalHash(bytes), "\(image)")
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test("with the store on S3: what whole parts have is kept, another replica goes on, and hostile images are refused")
  func s3() async throws {
    let http = HTTPClient(logger: quiet)
    let moto = try await MotoServer.running()
    let store = try S3Store(
      configuration: S3Configuration(
        endpoint: moto.endpoint, bucket: try await moto.makeBucket(http), keyPrefix: "aloft/", partBytes: 5 << 20),
      credentials: S3Credentials(accessKeyID: "AKIATEST", secretAccessKey: "s3-\(UUID().uuidString)"), http: http,
      logger: quiet)
    let images = ImageContents(store: store, inspector: Programs.inspector, scratch: NSTemporaryDirectory())
    try await TestPlane.with(poolSize: 4, images: images) { test async throws in
      _ = await test.call(.post, "/v1/images", ["name": "tiny"])
      let bytes = Self.content(12 << 20)
      let first = await test.append(
        bytes[..<(7 << 20)], to: "tiny", at: 0, headers: ["Upload-Length": "\(bytes.count)"])
      #expect(first.status == 204 && first.header("Upload-Offset") == "\(5 << 20)", "\(first)")
      let replica = try test.replica()
      let last = await test.append(bytes[(5 << 20)...], to: "tiny", at: 5 << 20, isLast: true, on: replica)
      #expect(last.status == 200 && last["sha256"]?.stringValue == hexadecimalHash(bytes), "\(last)")
      try await test.withServer { reach async throws in
        let part = try await reach.client.send(
          test.request("/v1/images/tiny/content", of: reach, headers: [.range: "bytes=5242870-5242889"]),
          deadline: .seconds(60))
        #expect(part.status == 206 && part.body == Array(bytes[5_242_870..<5_242_890]))
      }
      _ = await test.call(.post, "/v1/images", ["name": "bad"])
      for image in HostileImage.all.prefix(5) {
        let answer = await test.upload(image.bytes, to: "bad")
        #expect(answer["image"]?["code"]?.stringValue == image.code.rawValue, "\(image): \(answer)")
      }
      #expect(try await images.list().count == 1)
      #expect(try await test.findings() == [])
      #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
      #expect(try await images.list().isEmpty)
    }
  }

  @Test("a download gives all bytes or the range that was asked for, with its name")
  func download() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let bytes = Self.content(1 << 20)
      try await test.makeImage(bytes: bytes)
      try await test.withServer { reach async throws in
        func get(_ headers: HTTPFields = [:]) async throws -> HTTPClientResponse {
          try await reach.client.send(
            test.request("/v1/images/tiny/content", of: reach, headers: headers), deadline: .seconds(60))
        }
        let whole = try await get()
        #expect(whole.status == 200 && whole.body == bytes)
        #expect(whole.headers[.contentDisposition] == "attachment; filename=\"tiny.raw\"")
        let tag = try #require(whole.headers[.eTag])
        #expect(tag == "\"\(hexadecimalHash(bytes))\"")
        for (field, range) in [
          ("bytes=0-0", 0..<1), ("bytes=1000-1999", 1000..<2000), ("bytes=1048000-", 1_048_000..<1_048_576),
          ("bytes=-7", 1_048_569..<1_048_576), ("bytes=1048570-9999999", 1_048_570..<1_048_576),
        ] {
          let part = try await get([.range: field, .ifRange: tag])
          #expect(part.status == 206 && part.body == Array(bytes[range]), "\(field)")
          #expect(part.headers[.contentRange] == "bytes \(range.lowerBound)-\(range.upperBound - 1)/1048576")
        }
        for field in ["bytes=5-1", "lines=1-2", "bytes=a-b", "bytes=0-1,5-6"] {
          #expect(try await get([.range: field]).status == 200, "\(field)")
        }
        #expect(try await get([.range: "bytes=0-1", .ifRange: "\"other\""]).status == 200)
        let behind = try await get([.range: "bytes=1048576-"])
        #expect(behind.status == 416 && behind.headers[.contentRange] == "bytes */1048576")
      }
    }
  }
}
