import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("WebSocket limits")
struct WebSocketLimitTests {
  @Test(
    "an upgrade with a body, or in HTTP/1.0, is refused and ends the connection",
    arguments: [
      ("\r\n\r\n", "\r\nContent-Length: 6\r\n\r\n"), ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"),
      ("HTTP/1.1", "HTTP/1.0"),
    ])
  func notAlone(change: (String, String)) async throws {
    try await withServer(responder: WebSocketTests.echoes) { server, port in
      let client = try await TestClient.connect(port: port)
      let request = WebSocketTests.upgrade.replacing(change.0, with: change.1)
      try await client.send(Array(request.utf8) + DecoderTests.frame(0x81, []))
      let response = try await client.response()
      #expect(response.status == 400)
      #expect(response.fields["connection"] == "close")
      #expect(try await client.isClosedByServer())
    }
  }

  @Test("an upgrade that says Content-Length: 0 has no body")
  func emptyBody() async throws {
    try await withServer(responder: WebSocketTests.echoes) { _, port in
      let client = try await TestClient.connect(port: port)
      let request = WebSocketTests.upgrade.replacing("\r\n\r\n", with: "\r\nContent-Length: 0\r\n\r\n")
      #expect(try await client.request(request).status == 101)
    }
  }

  @Test("messages that nobody receives make the client wait, and it is not cut off for pongs that are not read")
  func fullInbox() async throws {
    let gate = Box(false)
    let received = Box(0)
    let limits = LimitTests.limits {
      $0.webSocketMessage = 16 << 10
      $0.webSocketPing = .seconds(1)
    }
    try await withServer(
      limits: limits,
      responder: { request in
        guard request.path == "/ws" else { return await WebSocketTests.echoes(request) }
        return Response(
          headers: [.secWebSocketProtocol: "echo"],
          body: .webSocket { socket in
            try await eventually("the gate opens") { await gate.value }
            while try await socket.receive() != nil { await received.update { $0 += 1 } }
          })
      }
    ) { server, port in
      let client = try await WebSocketTests.open(port)
      let message = DecoderTests.frame(0x82, [UInt8](repeating: 1, count: 8 << 10), length: [126, 0x20, 0])
      let count = 4000
      let sending = Task { for _ in 0..<count { try await client.send(message) } }
      _ = try await settled("the server stops reading") {
        let now = server.statistics().bytesReceived
        return now > 16 << 10 ? now : nil
      }
      #expect(server.statistics().bytesReceived < 2 << 20)
      // One who really does not answer, to measure by.
      let silent = try await TestClient.connect(port: port)
      #expect(try await silent.request(WebSocketTests.upgrade.replacing("/ws", with: "/silent")).status == 101)
      try await eventually("the silent one is cut off") { server.statistics().openConnections == 1 }
      await gate.set(true)
      try await sending.value
      try await eventually("all have come") { await received.value == count }
      await client.disconnect()
    }
  }

  @Test("cancelling one task that receives does not end the next one's wait")
  func receiversAreApart() async throws {
    let outcome = Box<String?>(nil)
    let second = Box(false)
    try await withServer(responder: { _ in
      Response(
        headers: [.secWebSocketProtocol: "echo"],
        body: .webSocket { socket in
          for _ in 0..<200 {
            let first = Task { try await socket.receive() }
            first.cancel()
            _ = try? await first.value
          }
          await second.set(true)
          do { await outcome.set("\(String(describing: try await socket.receive()))") } catch {
            await outcome.set("\(error)")
          }
        })
    }) { _, port in
      let client = try await WebSocketTests.open(port)
      try await eventually("the second waits") { await second.value }
      try await client.send(DecoderTests.frame(0x81, Array("here".utf8)))
      try await eventually("it is received") { await outcome.value != nil }
      #expect(await outcome.value?.contains("here") == true)
    }
  }

  @Test("a WebSocket works over TLS")
  func overTLS() async throws {
    try await TLSTests.withAuthority { authority in
      try await withServer(tls: authority.configuration(), responder: WebSocketTests.echoes) { _, port in
        let client = try await TestClient.connect(port: port, tls: authority.client())
        #expect(try await client.request(WebSocketTests.upgrade).status == 101)
        let binary = [UInt8](repeating: 9, count: 200_000)
        let length: [UInt8] = [127, 0, 0, 0, 0, 0, 3, 0x0D, 0x40]
        try await client.send(DecoderTests.frame(0x82, binary, length: length))
        let (kind, payload) = try await WebSocketTests.frame(client)
        #expect(kind == 0x82 && payload == binary)
        try await client.send(DecoderTests.frame(0x88, [0x03, 0xE8]))
        #expect(try await WebSocketTests.frame(client) == (0x88, [0x03, 0xE8]))
      }
    }
  }
}
