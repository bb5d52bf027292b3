import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("WebSocket")
struct WebSocketTests {
  static let upgrade =
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

  @Sendable
  static func echoes(_ request: Request) async -> Response {
    Response(
      headers: [.secWebSocketProtocol: "echo"],
      body: .webSocket { socket in
        for try await message in socket.messages {
          if message == .text("bye") {
            await socket.close(code: 4000, reason: "as told")
          } else {
            try await socket.send(message)
          }
        }
      })
  }

  static func open(_ port: Int) async throws -> TestClient {
    let client = try await TestClient.connect(port: port)
    let response = try await client.request(upgrade)
    #expect(response.status == 101)
    // The example of RFC 6455, 1.3.
    #expect(response.fields["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    #expect(response.fields["upgrade"] == "websocket")
    #expect(response.fields["sec-websocket-protocol"] == "echo")
    return client
  }

  /// Reads one frame of the server: its first byte and payload.
  static func frame(_ client: TestClient) async throws -> (UInt8, [UInt8]) {
    let start = try await client.read(2)
    #expect(start[1] & 0x80 == 0, "a server never masks")
    var length = Int(start[1])
    if length == 126 {
      length = try await client.read(2).reduce(0) { $0 << 8 | Int($1) }
    } else if length == 127 {
      length = try await client.read(8).reduce(0) { $0 << 8 | Int($1) }
    }
    return (start[0], try await client.read(length))
  }

  @Test("messages of every size and kind come back as they were sent, pings in between are answered")
  func conversation() async throws {
    try await withServer(responder: Self.echoes) { server, port in
      let client = try await Self.open(port)
      try await client.send(DecoderTests.frame(0x81, Array("h\u{e9}llo".utf8)))
      #expect(try await Self.frame(client) == (0x81, Array("h\u{e9}llo".utf8)))
      let binary = [UInt8](repeating: 7, count: 100_000)
      let length: [UInt8] = [127, 0, 0, 0, 0, 0, 1, 0x86, 0xA0]
      try await client.send(DecoderTests.frame(0x02, Array("a".utf8)) + DecoderTests.frame(0x89, [1, 2]))
      #expect(try await Self.frame(client) == (0x8A, [1, 2]))
      try await client.send(DecoderTests.frame(0x80, binary, length: length))
      let (kind, payload) = try await Self.frame(client)
      #expect(kind == 0x82 && payload == Array("a".utf8) + binary)
    }
  }

  @Test("either side can close, and the code is answered")
  func closing() async throws {
    try await withServer(responder: Self.echoes) { server, port in
      let first = try await Self.open(port)
      try await first.send(DecoderTests.frame(0x88, [0x03, 0xE8]))
      #expect(try await Self.frame(first) == (0x88, [0x03, 0xE8]))
      #expect(try await first.isClosedByServer())
      let second = try await Self.open(port)
      try await second.send(DecoderTests.frame(0x81, Array("bye".utf8)))
      #expect(try await Self.frame(second) == (0x88, [0x0F, 0xA0] + Array("as told".utf8)))
      try await second.send(DecoderTests.frame(0x88, [0x0F, 0xA0]))
      #expect(try await second.isClosedByServer())
      try await eventually("both are gone") { server.statistics().openConnections == 0 }
    }
  }

  static let faults: [([UInt8], UInt16)] = [
    (DecoderTests.frame(0x81, Array("x".utf8), masked: false), 1002), (DecoderTests.frame(0x83, []), 1002),
    (DecoderTests.frame(0x81, [0xC3]), 1007),
    (DecoderTests.frame(0x82, [], length: [127, 0, 0, 0, 0, 1, 0, 0, 0]), 1009),
  ]

  @Test("what breaks the protocol is answered with its close code", arguments: faults)
  func faultCodes(bytes: [UInt8], code: UInt16) async throws {
    try await withServer(responder: Self.echoes) { _, port in
      let client = try await Self.open(port)
      try await client.send(bytes)
      #expect(try await Self.frame(client) == (0x88, [UInt8(code >> 8), UInt8(code & 0xFF)]))
      #expect(try await client.isClosedByServer())
    }
  }

  @Test("a request that does not ask for a WebSocket properly is told how")
  func refusals() async throws {
    try await withServer(responder: Self.echoes) { _, port in
      let client = try await TestClient.connect(port: port)
      let plain = try await client.request("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(plain.status == 426)
      #expect(plain.fields["sec-websocket-version"] == "13")
      #expect(try await client.request(Self.upgrade.replacing("Version: 13", with: "Version: 8")).status == 426)
      #expect(try await client.request(Self.upgrade.replacing("ZQ==", with: "Z")).status == 400)
      #expect(try await client.request(Self.upgrade.replacing("GET", with: "POST")).status == 426)
    }
  }

  @Test("a client that leaves ends the conversation")
  func clientLeaves() async throws {
    let ended = Box(false)
    try await withServer(responder: { _ in
      Response(
        headers: [.secWebSocketProtocol: "echo"],
        body: .webSocket { socket in
          _ = try? await socket.receive()
          await ended.set(true)
        })
    }) { server, port in
      let client = try await Self.open(port)
      await client.disconnect()
      try await eventually("the conversation ends") { await ended.value }
      try await eventually("the connection is gone") { server.statistics().openConnections == 0 }
    }
  }

  @Test("a silent client is pinged, and cut off if it does not answer")
  func pings() async throws {
    var limits = Limits()
    limits.webSocketPing = .milliseconds(100)
    try await withServer(limits: limits, responder: Self.echoes) { server, port in
      let client = try await Self.open(port)
      #expect(try await Self.frame(client) == (0x89, []))
      #expect(try await client.isClosedByServer())
      #expect(server.statistics().timeouts == 1)
    }
  }

  @Test("a client that answers pings stays")
  func pongs() async throws {
    var limits = Limits()
    limits.webSocketPing = .milliseconds(500)
    try await withServer(limits: limits, responder: Self.echoes) { server, port in
      let client = try await Self.open(port)
      #expect(try await client.answer([0x89, 0], with: DecoderTests.frame(0x8A, []), times: 3))
      #expect(server.statistics().openConnections == 1)
    }
  }

  @Test("frames sent together with the upgrade are not lost")
  func earlyFrames() async throws {
    try await withServer(responder: Self.echoes) { _, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Array(Self.upgrade.utf8) + DecoderTests.frame(0x81, Array("early".utf8)))
      #expect(try await client.response().status == 101)
      #expect(try await Self.frame(client) == (0x81, Array("early".utf8)))
    }
  }
}
