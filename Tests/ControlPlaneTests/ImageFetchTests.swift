import AloftModel
import Foundation
import HTTP
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Images that the cloud fetches")
struct ImageFetchTests {
  private static let content: [UInt8] = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 9) }

  /// A server of files: ranges, and an entity tag where `tag` says one.
  private static func serve(
    _ request: WebhookTarget.Received, tag: String? = "\"one\"", cutAfter: Int? = nil
  ) -> HTTP.Response {
    var response = HTTP.Response()
    var bytes = content[...]
    response.headers[.eTag] = tag
    if let range = request.headers[.range], let tag, request.headers[.ifRange] == tag,
      let first = Int(range.dropFirst("bytes=".count).dropLast())
    {
      response.status = .partialContent
      response.headers[.contentRange] = "bytes \(first)-\(content.count - 1)/\(content.count)"
      bytes = content[first...]
    }
    let all = Array(bytes)
    struct Cut: Error {}
    response.body = .stream(length: Int64(all.count)) { writer in
      guard let cutAfter else { return try await writer.write(all) }
      try await writer.write(Array(all.prefix(cutAfter)))
      // The client is to have it before the connection ends.
      try await Task.sleep(for: .milliseconds(200))
      throw Cut()
    }
    return response
  }

  private func fetch(_ test: TestPlane, _ url: String, _ more: JSONObject = [:]) async -> Answer {
    var body: JSONObject = ["name": "tiny", "source": ["url": .string(url)]]
    for (name, value) in more { body[name] = value }
    return await test.call(.post, "/v1/images", .object(body))
  }

  /// Steps the plane until the operation has ended.
  private func ended(_ test: TestPlane, _ answer: Answer, on replicas: [ControlPlane] = []) async throws -> Answer {
    let id = try #require(answer["operation"]?["id"]?.stringValue.flatMap { OperationID($0) }, "\(answer)")
    var operation = await test.operation(id)
    var round = 0
    try await eventually("the fetch has ended", within: .seconds(60)) {
      try await test.database.execute("UPDATE work SET due_at = aloft_now() WHERE kind = 'image'")
      let planes = replicas.isEmpty ? [test.plane] : replicas
      _ = try await planes[round % planes.count].stepImages()
      round += 1
      operation = await test.operation(id)
      return operation["finished_at"] != .null
    }
    return operation
  }

  @Test("a fetched image is checked, judged and ready, and its operation has succeeded")
  func whole() async throws {
    try await WebhookTarget.with(answer: { request, _ in Self.serve(request) }) { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        let answer = await fetch(test, target.url, ["sha256": .string(hexadecimalHash(Self.content))])
        #expect(answer.status == 202 && answer["operation"]?["kind"] == "image.fetch", "\(answer)")
        #expect(await test.upload([1, 2, 3], to: "tiny").code == "wrong_state")
        #expect(try await ended(test, answer)["status"] == "succeeded")
        let image = await test.call(.get, "/v1/images/tiny")
        #expect(image["state"] == "ready" && image["operation"] == .null, "\(image)")
        #expect(image["sha256"]?.stringValue == hexadecimalHash(Self.content))
        #expect(try await test.findings() == [])
      }
    }
  }

  @Test(
    "connections that break are gone on with by range, at whatever replica; without a name for the content it begins anew"
  )
  func broken() async throws {
    for tag in ["\"one\"", nil] {
      try await WebhookTarget.with(answer: { request, before in
        Self.serve(request, tag: tag, cutAfter: before < 4 ? 150_000 : nil)
      }) { target async throws in
        try await TestPlane.with(outgoing: .loopback) { test async throws in
          let answer = await fetch(test, target.url)
          let operation = try await ended(test, answer, on: [test.plane, try test.replica()])
          #expect(operation["status"] == "succeeded", "\(operation)")
          let ranges = target.received.map { $0.headers[.range] }
          #expect(ranges.first == .some(nil))
          #expect(ranges.dropFirst().contains { $0 != nil } == (tag != nil), "\(ranges)")
          #expect(
            await test.call(.get, "/v1/images/tiny")["sha256"]?.stringValue == hexadecimalHash(Self.content))
          #expect(try await test.findings() == [])
        }
      }
    }
  }

  @Test("redirects are followed, but never to where this cloud does not go")
  func redirects() async throws {
    try await WebhookTarget.with(answer: { request, before in
      if request.path == "/hook" {
        return HTTP.Response(status: .found, headers: [.location: "/elsewhere"])
      }
      return Self.serve(request)
    }) { target async throws in
      try await TestPlane.with(outgoing: .loopback) { test async throws in
        #expect(try await ended(test, await fetch(test, target.url))["status"] == "succeeded")
      }
    }
    for location in [
      "http://169.254.169.254/latest", "http://[::1]:1/", "file:///etc/passwd", "http://10.0.0.1/", "/hook",
    ] {
      try await WebhookTarget.with(answer: { _, _ in
        HTTP.Response(status: .found, headers: [.location: location])
      }) { target async throws in
        try await TestPlane.with(outgoing: .loopback) { test async throws in
          let operation = try await ended(test, await fetch(test, target.url))
          #expect(
            operation["status"] == "failed" && operation["error"]?["code"] == "fetch_refused",
            "\(location): \(operation)")
          #expect(await test.call(.get, "/v1/images/tiny")["state"] == "awaiting_upload")
          #expect(try await test.findings() == [])
        }
      }
    }
  }

  @Test("URLs that lead inside are refused at once, as are those that are none")
  func forbidden() async throws {
    try await TestPlane.with { test async throws in
      for (url, code) in [
        ("https://127.0.0.1/x", "url_refused"), ("https://169.254.169.254/x", "url_refused"),
        ("http://example.com/x", "url_refused"), ("ftp://example.com/x", "bad_format"), ("nonsense", "bad_format"),
        ("https://u:p@example.com/x", "bad_format"),
      ] {
        let answer = await fetch(test, url)
        #expect(answer.code == code && answer.place == "/source/url", "\(url): \(answer)")
      }
      #expect(try await test.count("SELECT count(*) FROM images") == 0)
    }
  }

  @Test("a wrong checksum, a file that is no image, and a server that says no end the fetch with the reason")
  func refused() async throws {
    for (response, sha256, code) in [
      (
        HTTP.Response(status: .ok, contentType: "x/y", body: [UInt8](repeating: 1, count: 900)), "0",
        "checksum_mismatch"
      ),
      (
        HTTP.Response(status: .ok, contentType: "text/html", body: Array("<!DOCTYPE html><p>".utf8)), nil,
        "image_invalid"
      ),
      (HTTP.Response(status: .notFound), nil, "fetch_refused"),
    ] as [(HTTP.Response, String?, String)] {
      try await WebhookTarget.with(answer: { _, _ in response }) { target async throws in
        try await TestPlane.with(outgoing: .loopback) { test async throws in
          let more: JSONObject = sha256.map { ["sha256": .string(String(repeating: $0, count: 64))] } ?? [:]
          let operation = try await ended(test, await fetch(test, target.url, more))
          #expect(operation["error"]?["code"]?.stringValue == code, "\(operation)")
          #expect(await test.call(.get, "/v1/images/tiny")["stored_bytes"] == 0)
          // It can be given another content now.
          #expect(
            await test.upload([UInt8](repeating: 1, count: 512), to: "tiny").status == (sha256 == nil ? 200 : 422))
          #expect(try await test.findings() == [])
        }
      }
    }
  }

  @Test("a fetch is cancelled before it began and while bytes come, and a deleted image ends its own")
  func cancelled() async throws {
    try await WebhookTarget.with(answer: { request, _ in
      var response = HTTP.Response()
      response.body = .stream(length: 1 << 30) { writer in
        while true {
          try await writer.write([UInt8](repeating: 1, count: 10_000))
          try await Task.sleep(for: .milliseconds(20))
        }
      }
      return response
    }) { target async throws in
      try await TestPlane.with(background: true, poolSize: 4, outgoing: .loopback) { test async throws in
        let answer = await fetch(test, target.url)
        let id = try #require(answer["operation"]?["id"]?.stringValue.flatMap { OperationID($0) })
        try await eventually("bytes come") {
          await test.operation(id)["waiting_for"]?.stringValue?.contains("of 1073741824 bytes") == true
        }
        #expect(await test.call(.post, "/v1/images/tiny/cancel-fetch").status == 200)
        #expect(await test.operation(id)["error"]?["code"] == "cancelled")
        #expect(await test.call(.post, "/v1/images/tiny/cancel-fetch").code == "wrong_state")
        try await eventually("the writer has let go") {
          await test.call(.delete, "/v1/images/tiny/content").status == 204
        }
        #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
        let other = await fetch(test, target.url)
        let second = try #require(other["operation"]?["id"]?.stringValue.flatMap { OperationID($0) })
        #expect(await test.call(.delete, "/v1/images/tiny").status == 204)
        #expect(await test.operation(second)["error"]?["code"] == "cancelled")
      }
    }
  }
}
