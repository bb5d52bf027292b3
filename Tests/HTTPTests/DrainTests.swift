import Execution
import Glibc
import HTTP
import HTTPTypes
import Logging
import TestSupport
import Testing

@Suite("Draining")
struct DrainTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  /// Starts a server, and shuts it down while `body` watches. `body` gets a closure that begins it.
  static func withDrain(
    tls: TLSConfiguration? = nil, immediate: ImmediateResponder? = nil, responder: @escaping Responder,
    _ body: (Server, Int, _ shutDown: @escaping @Sendable () -> Task<Void, Never>) async throws -> Void
  ) async throws {
    let server = Server(
      configuration: ServerConfiguration(
        listeners: [.ip(host: "127.0.0.1", port: 0, tls: tls)], loops: 1,
        limits: LimitTests.limits { $0.linger = .seconds(10) }),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, immediate: immediate, responder: responder)
    let port = try #require(try await server.start().first?.port)
    let stopping = Lock<Task<Void, Never>?>(nil)
    do {
      try await body(server, port) {
        let task = Task { await server.shutdown(grace: .seconds(20)) }
        stopping.withLock { $0 = task }
        return task
      }
    } catch {
      await server.shutdown(grace: .zero)
      throw error
    }
    await stopping.withLock { $0 }?.value
    await server.shutdown(grace: .zero)
  }

  @Test("a request of which half the head has come is answered, and told that the connection ends")
  func halfHead() async throws {
    try await Self.withDrain(responder: echo) { server, port, shutDown in
      let client = try await TestClient.connect(port: port)
      #expect(try await client.request(Self.get).status == 200)
      let idle = try await TestClient.connect(port: port)
      #expect(try await idle.request(Self.get).status == 200)
      let before = server.statistics().bytesReceived
      try await client.send("GET /late HTTP/1.1\r\nHo")
      try await eventually("half of it has come") { server.statistics().bytesReceived == before + 22 }
      let stopping = shutDown()
      #expect(try await idle.isClosedByServer())
      try await client.send("st: x\r\n\r\n")
      let response = try await client.response()
      #expect(response.text == "GET /late ")
      #expect(response.fields["connection"] == "close")
      await client.disconnect()
      await stopping.value
    }
  }

  @Test("requests that wait in the kernel, and connections that wait to be accepted, are served")
  func waiting() async throws {
    let blocked = Lock(false)
    let release = Lock(false)
    try await Self.withDrain(
      immediate: { request in
        guard request.path == "/block" else { return nil }
        // Holds the only loop, so that what comes meanwhile waits in the kernel.
        blocked.withLock { $0 = true }
        while !release.withLock({ $0 }) { sched_yield() }
        return Response()
      }, responder: echo
    ) { server, port, shutDown in
      let known = try await TestClient.connect(port: port)
      #expect(try await known.request(Self.get).status == 200)
      let blocker = try await TestClient.connect(port: port)
      try await blocker.send("GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
      try await eventually("the loop is held") { blocked.withLock { $0 } }
      try await known.send("GET /known HTTP/1.1\r\nHost: x\r\n\r\n")
      let new = try await TestClient.connect(port: port)
      try await new.send("GET /new HTTP/1.1\r\nHost: x\r\n\r\n")
      let stopping = shutDown()
      try await eventually("the server drains") { server.isDraining }
      release.withLock { $0 = true }
      #expect(try await blocker.response().status == 200)
      for (client, path) in [(known, "/known"), (new, "/new")] {
        let response = try await client.response()
        #expect(response.text == "GET \(path) ")
        #expect(response.fields["connection"] == "close")
        #expect(try await client.isClosedByServer())
        await client.disconnect()
      }
      await blocker.disconnect()
      await stopping.value
    }
  }

  @Test("a WebSocket is closed with 1001 when draining begins, and its conversation ends")
  func webSocket() async throws {
    let ended = Box(false)
    try await Self.withDrain(responder: { _ in
      Response(
        headers: [.secWebSocketProtocol: "echo"],
        body: .webSocket { socket in
          while try await socket.receive() != nil {}
          await ended.set(true)
        })
    }) { server, port, shutDown in
      let client = try await WebSocketTests.open(port)
      let stopping = shutDown()
      let (kind, payload) = try await WebSocketTests.frame(client)
      #expect(kind == 0x88 && payload.prefix(2) == [0x03, 0xE9])
      try await client.send(DecoderTests.frame(0x88, [0x03, 0xE9]))
      #expect(try await client.isClosedByServer())
      await stopping.value
      #expect(await ended.value)
    }
  }

  @Test("a TLS connection that is still shaking hands is served when it has a request")
  func handshake() async throws {
    try await TLSTests.withAuthority { authority in
      try await Self.withDrain(tls: authority.configuration(), responder: echo) { server, port, shutDown in
        let client = try await TestClient.connect(port: port)
        try await eventually("it is accepted") { server.statistics().openConnections == 1 }
        let stopping = shutDown()
        try await eventually("the server drains") { server.isDraining }
        try await client.handshake(authority.client())
        let response = try await client.request(Self.get)
        #expect(response.status == 200 && response.fields["connection"] == "close")
        await client.disconnect()
        await stopping.value
      }
    }
  }
}
