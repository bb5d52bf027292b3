import Execution
import Foundation
import Glibc
import HTTPTypes
import TestSupport
import Testing

@testable import HTTPClient

@Suite("HTTPClient: streams, downloads, uploads")
struct TransferTests {
  private let size = 64 << 20

  @Test("a reader that stops stops the sender, and then gets every byte in order")
  func backPressure() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    let response = try await client.stream(
      HTTPClientRequest(url: server.http + "/bytes?count=\(size)&name=slow"))
    #expect(response.headers[.contentLength] == "\(size)")
    // Nothing is read until the sender makes no progress any more.
    let sent = try await settled("the sender waits") {
      let now = try await state("slow", server)["sent"] as? Int ?? 0
      return now > 0 ? now : nil
    }
    #expect(sent < size / 2)
    var check = PatternCheck()
    var largest = 0
    for try await bytes in response.body {
      check.feed(bytes)
      largest = max(largest, bytes.count)
    }
    #expect(check.holds)
    #expect(check.position == Int64(size))
    #expect(largest <= HTTPClient.streamBuffer + (128 << 10))
  }

  @Test("dropping a stream unread closes its connection")
  func dropped() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    do {
      let response = try await client.stream(
        HTTPClientRequest(url: server.http + "/silent?name=dropped"))
      #expect(response.status == 200)
    }
    try await eventually("dropped is gone") { try await isGone("dropped", server) }
  }

  @Test("a stream outlives the client value it was made with")
  func outlives() async throws {
    let server = try await TestServer.shared()
    let response = try await makeClient().stream(
      HTTPClientRequest(url: server.http + "/bytes?count=5000000"))
    var check = PatternCheck()
    for try await bytes in response.body { check.feed(bytes) }
    #expect(check.holds)
    #expect(check.position == 5_000_000)
  }

  @Test("a download writes the body at its offset and shows it to the hash hook")
  func download() async throws {
    let server = try await TestServer.shared()
    let directory = try TemporaryDirectory()
    let descriptor = open(directory.file("image"), O_RDWR | O_CREAT, 0o600)
    defer { close(descriptor) }
    let seen = Lock(PatternCheck())
    let last = Lock<TransferProgress?>(nil)
    let result = try await makeClient().download(
      HTTPClientRequest(url: server.http + "/bytes?count=3000000"), to: descriptor, offset: 100,
      progress: { progress in last.withLock { $0 = progress } },
      onBytes: { bytes in seen.withLock { $0.feed(bytes) } })
    #expect(result.status == 200)
    #expect(result.bytesWritten == 3_000_000)
    #expect(last.withLock { $0 } == TransferProgress(bytes: 3_000_000, total: 3_000_000))
    #expect(seen.withLock { $0.holds && $0.position == 3_000_000 })
    let file = [UInt8](try Data(contentsOf: URL(fileURLWithPath: directory.file("image"))))
    #expect(file == [UInt8](repeating: 0, count: 100) + pattern(count: 3_000_000))
  }

  @Test(
    "a download goes on where it stopped by Range, and a server that ignores the range is refused")
  func resume() async throws {
    let server = try await TestServer.shared()
    let directory = try TemporaryDirectory()
    let descriptor = open(directory.file("image"), O_RDWR | O_CREAT, 0o600)
    defer { close(descriptor) }
    let request = HTTPClientRequest(
      url: server.http + "/bytes?count=5000", headers: [.range: "bytes=2000-"])
    let seen = Lock(PatternCheck(from: 2000))
    let result = try await makeClient().download(
      request, to: descriptor, offset: 2000, onBytes: { bytes in seen.withLock { $0.feed(bytes) } })
    #expect(result.status == 206)
    #expect(result.bytesWritten == 3000)
    #expect(seen.withLock { $0.holds })
    var ignored = request
    ignored.url += "&ignorerange=1"
    #expect(
      await kind { _ = try await makeClient().download(ignored, to: descriptor, offset: 2000) }
        == .protocolError)
    var other = request
    other.url += "&told=1000"
    #expect(
      await kind { _ = try await makeClient().download(other, to: descriptor, offset: 2000) } == .protocolError)
  }

  @Test("a POST that the server has had is not sent again on another connection, unless it is idempotent")
  func sentOnce() async throws {
    let server = try await TestServer.shared()
    for (body, key, times) in [
      (HTTPClientBody.bytes([1, 2, 3]), "", 1), (.none, "", 1), (.bytes([1, 2, 3]), "a-key-of-this-post", 2),
    ] {
      let client = makeClient()
      let name = UUID().uuidString
      // The second request finds a connection that is kept alive.
      _ = try await client.send(HTTPClientRequest(url: server.http + "/port"), deadline: nil)
      var request = HTTPClientRequest(method: .post, url: server.http + "/take?name=\(name)", body: body)
      if !key.isEmpty { request.headers[try #require(HTTPField.Name("Idempotency-Key"))] = key }
      let failure = await kind { _ = try await client.send(request, deadline: .seconds(20)) }
      #expect(failure == .connectionLost || failure == .sendFailed)
      let told = try await client.send(HTTPClientRequest(url: server.http + "/sent?name=\(name)"), deadline: nil)
      #expect(String(decoding: told.body, as: UTF8.self).contains(#""sent": \#(times)"#), "\(key) \(told.body)")
    }
  }

  @Test(
    "an error status writes nothing and keeps the body; a file that cannot be written has its errno"
  )
  func downloadFailures() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    let descriptor = open("/dev/full", O_WRONLY)
    defer { close(descriptor) }
    let result = try await client.download(
      HTTPClientRequest(url: server.http + "/status/404"), to: descriptor)
    #expect(result.status == 404)
    #expect(result.bytesWritten == 0)
    #expect(String(decoding: result.errorBody, as: UTF8.self).contains("told_so"))
    let request = HTTPClientRequest(url: server.http + "/bytes?count=5000")
    #expect(
      await kind { _ = try await client.download(request, to: descriptor) } == .file(errno: ENOSPC))
    #expect(
      await kind { _ = try await client.download(request, to: descriptor, maxBytes: 4999) }
        == .tooLarge)
  }

  @Test("a range of a file is uploaded whole, with its progress")
  func uploadFile() async throws {
    let server = try await TestServer.shared()
    let directory = try TemporaryDirectory()
    let path = directory.file("disk")
    try Data([9, 9, 9] + pattern(count: 5_000_000)).write(to: URL(fileURLWithPath: path))
    let last = Lock<TransferProgress?>(nil)
    let response = try await makeClient().upload(
      HTTPClientRequest(method: .put, url: server.http + "/echo"),
      body: .file(path: path, offset: 3),
      progress: { progress in last.withLock { $0 = progress } })
    let echo = try response.object
    #expect(echo["length"] as? Int == 5_000_000)
    #expect(echo["pattern"] as? Bool == true)
    #expect((echo["headers"] as? [String: String])?["expect"] == "100-continue")
    #expect((echo["headers"] as? [String: String])?["content-length"] == "5000000")
    #expect(last.withLock { $0 } == TransferProgress(bytes: 5_000_000, total: 5_000_000))
  }

  @Test(
    "a stream is uploaded chunked, or with its length when that is known",
    arguments: [nil, 2_000_000] as [Int64?])
  func uploadStream(length: Int64?) async throws {
    let server = try await TestServer.shared()
    let chunks = AsyncStream<[UInt8]> { continuation in
      for index in 0..<20 {
        continuation.yield(pattern(from: Int64(index) * 100_000, count: 100_000))
      }
      continuation.finish()
    }
    let echo = try await makeClient().upload(
      HTTPClientRequest(method: .post, url: server.http + "/echo"),
      body: .stream(chunks, length: length)
    ).object
    #expect(echo["length"] as? Int == 2_000_000)
    #expect(echo["pattern"] as? Bool == true)
    #expect(
      (echo["headers"] as? [String: String])?["transfer-encoding"]
        == (length == nil ? "chunked" : nil))
  }

  @Test(
    "a source that fails, gives too little or too much, or a missing file ends the upload with its kind"
  )
  func uploadFailures() async throws {
    struct Broken: Error {}
    let server = try await TestServer.shared()
    let directory = try TemporaryDirectory()
    let path = directory.file("short")
    try Data(pattern(count: 100)).write(to: URL(fileURLWithPath: path))
    let client = makeClient()
    func put(_ body: HTTPClientBody) async -> HTTPClientError.Kind? {
      await kind {
        _ = try await client.upload(
          HTTPClientRequest(method: .put, url: server.http + "/echo"), body: body)
      }
    }
    #expect(await put(.produced(length: nil) { _ in throw Broken() }) == .bodySource)
    #expect(await put(.produced(length: 10) { try await $0.write([1]) }) == .bodySource)
    #expect(await put(.produced(length: 1) { try await $0.write([1, 2]) }) == .bodySource)
    #expect(await put(.file(path: path, length: 101)) == .file(errno: 0))
    #expect(await put(.file(path: directory.file("none"))) == .file(errno: ENOENT))
    #expect(await put(.file(path: path, offset: -1)) == .invalidRequest)
  }

  @Test("an upload that the server refuses early gives its response and ends the source")
  func refusedEarly() async throws {
    let server = try await TestServer.shared()
    let ended = Lock(false)
    let response = try await makeClient().upload(
      HTTPClientRequest(method: .put, url: server.http + "/early"),
      body: .produced(length: 1 << 30) { writer in
        defer { ended.withLock { $0 = true } }
        for _ in 0..<1024 { try await writer.write([UInt8](repeating: 0, count: 1 << 20)) }
      })
    #expect(response.status == 413)
    try await eventually("the body is given up") { ended.withLock { $0 } }
  }
}
