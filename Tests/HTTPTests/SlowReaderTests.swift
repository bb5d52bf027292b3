import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("Slow readers")
struct SlowReaderTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
  static let total = 16 << 20

  /// Streams ``total`` bytes.
  @Sendable
  static func stream(_ request: Request) async -> Response {
    Response(
      body: .stream(length: Int64(total)) { writer in
        for _ in 0..<(total >> 16) { try await writer.write([UInt8](repeating: 7, count: 1 << 16)) }
      })
  }

  @Test("a client that reads slowly but steadily gets all of a response, however long it takes")
  func slowButSteady() async throws {
    try await withServer(limits: LimitTests.limits { $0.writeIdle = .seconds(2) }, responder: Self.stream) {
      server, port in
      let client = try await TestClient.connect(port: port, receiveBuffer: 64 << 10)
      try await client.send(Self.get)
      var received = 0
      let head = try await client.read(upTo: "\r\n\r\n")
      #expect(head.contains("Content-Length: \(Self.total)"))
      // So slow that a socket buffer of the kernel's own choice would not become writable again within the limit.
      received += try await client.discardSlowly(pieces: 300, of: 4 << 10, pause: 15_000)
      #expect(server.statistics().timeouts == 0)
      while received < Self.total {
        let count = try await client.discard(1 << 20)
        if count == 0 { break }
        received += count
      }
      #expect(received == Self.total)
    }
  }

  @Test("what waits in the kernel for a client that does not read is bounded, too")
  func kernelMemory() async throws {
    try await withServer(responder: Self.stream) { server, port in
      let client = try await TestClient.connect(port: port, receiveBuffer: 64 << 10)
      try await client.send(Self.get)
      _ = try await client.read(upTo: "\r\n\r\n")
      _ = try await settled("the server waits for the client") {
        let now = server.statistics().bytesSent
        return now > 64 << 10 ? now : nil
      }
      #expect(server.statistics().bytesSent < 1 << 20)
      await client.disconnect()
    }
  }

  @Test("a client that reads nothing at all is cut off after the limit", arguments: [Int32?.none, 64 << 10])
  func noReader(receiveBuffer: Int32?) async throws {
    try await withServer(limits: LimitTests.limits { $0.writeIdle = .milliseconds(300) }, responder: Self.stream) {
      server, port in
      let client = try await TestClient.connect(port: port, receiveBuffer: receiveBuffer)
      try await client.send(Self.get)
      try await eventually("it is cut off") { server.statistics().timeouts == 1 }
      #expect(server.statistics().openConnections == 0)
    }
  }
}
