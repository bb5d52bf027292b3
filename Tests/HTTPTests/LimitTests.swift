import Execution
import Glibc
import HTTP
import HTTPTypes
import Logging
import TestSupport
import Testing

@Suite("Limits and shutdown")
struct LimitTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  static func limits(_ change: (inout Limits) -> Void) -> Limits {
    var limits = Limits()
    change(&limits)
    return limits
  }

  @Test("a head that does not end gets 408, however slowly it drips")
  func headTimeout() async throws {
    try await withServer(limits: Self.limits { $0.header = .seconds(2) }, responder: echo) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send("GET / HTTP/1.1\r\n")
      let dripping = Task {
        for byte in ("X-Slow: " + String(repeating: "a", count: 10_000)).utf8 {
          try await client.send([byte])
          try await Task.sleep(for: .milliseconds(20))
        }
      }
      try await eventually("the server gives up") { server.statistics().timeouts == 1 }
      dripping.cancel()
      _ = try? await dripping.value
      #expect(try await client.response().status == 408)
      #expect(try await client.isClosedByServer())
    }
  }

  @Test("a connection without a request, and one between requests, is closed in silence")
  func idleTimeouts() async throws {
    try await withServer(limits: Self.limits { $0.header = .milliseconds(100) }, responder: echo) { server, port in
      let silent = try await TestClient.connect(port: port)
      #expect(try await silent.readToEnd().isEmpty)
      #expect(server.statistics().timeouts == 0)
    }
    try await withServer(limits: Self.limits { $0.keepAliveIdle = .milliseconds(100) }, responder: echo) {
      server, port in
      let idle = try await TestClient.connect(port: port)
      #expect(try await idle.request(Self.get).status == 200)
      #expect(try await idle.isClosedByServer())
      #expect(server.statistics().timeouts == 0)
    }
  }

  @Test("a body that stops coming fails its reader")
  func bodyTimeout() async throws {
    try await withServer(limits: Self.limits { $0.bodyIdle = .milliseconds(100) }, responder: echo) { _, port in
      let client = try await TestClient.connect(port: port)
      let response = try await client.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
      #expect(response.status == 408)
      #expect(try await client.isClosedByServer())
    }
  }

  @Test("a client that does not read is cut off, and its handler learns it")
  func writeTimeout() async throws {
    let outcome = Box<StreamError?>(nil)
    try await withServer(
      limits: Self.limits { $0.writeIdle = .milliseconds(200) },
      responder: { _ in
        Response(
          body: .stream { writer in
            do { while true { try await writer.write([UInt8](repeating: 0, count: 100_000)) } } catch {
              await outcome.set(error as? StreamError)
              throw error
            }
          })
      }
    ) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.get)
      try await eventually("the writer is told") { await outcome.value == .closed }
      #expect(server.statistics().timeouts == 1)
      #expect(server.statistics().openConnections == 0)
    }
  }

  @Test("a TLS handshake that does not go on is given up")
  func handshakeTimeout() async throws {
    try await TLSTests.withAuthority { authority in
      try await withServer(
        limits: Self.limits { $0.handshake = .milliseconds(100) }, tls: authority.configuration(), responder: echo
      ) { server, port in
        let client = try await TestClient.connect(port: port)
        #expect(try await client.isClosedByServer())
        #expect(server.statistics().timeouts == 1)
      }
    }
  }

  @Test("connections beyond the limit, in all or of one peer, are closed at once and places come free again")
  func connectionLimits() async throws {
    for limits in [Self.limits { $0.connections = 3 }, Self.limits { $0.connectionsPerPeer = 3 }] {
      try await withServer(limits: limits, responder: echo) { server, port in
        var clients: [TestClient] = []
        for _ in 0..<3 {
          let client = try await TestClient.connect(port: port)
          #expect(try await client.request(Self.get).status == 200)
          clients.append(client)
        }
        let refused = try await TestClient.connect(port: port)
        #expect(try await refused.isClosedByServer())
        #expect(server.statistics().refusedConnections == 1)
        await clients.removeLast().disconnect()
        try await eventually("a place comes free") { server.statistics().openConnections == 2 }
        let next = try await TestClient.connect(port: port)
        #expect(try await next.request(Self.get).status == 200)
      }
    }
  }

  @Test("many connections at once are spread over the loops and all served")
  func manyConnections() async throws {
    let threads = Lock(Set<UInt>())
    try await withServer(
      immediate: { _ in
        threads.withLock { _ = $0.insert(UInt(pthread_self())) }
        return nil
      }, configure: { $0.loops = 3 }, responder: echo
    ) { server, port in
      var clients: [TestClient] = []
      for _ in 0..<40 { clients.append(try await TestClient.connect(port: port)) }
      for _ in 0..<3 {
        for client in clients { try await client.send(Self.get) }
        for client in clients { #expect(try await client.response().status == 200) }
      }
      #expect(server.statistics().requests == 120)
      #expect(threads.withLock { $0.count } == 3)
    }
  }

  @Test("shutdown lets requests in flight finish, closes idle connections and refuses new ones")
  func drain() async throws {
    let gate = Box(false)
    let server = Server(
      configuration: ServerConfiguration(listeners: [.ip(host: "127.0.0.1", port: 0, tls: nil)]),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      responder: { request in
        if request.path == "/slow" { try? await eventually("the gate opens") { await gate.value } }
        return await echo(request)
      })
    let port = try #require(try await server.start().first?.port)
    let idle = try await TestClient.connect(port: port)
    #expect(try await idle.request(Self.get).status == 200)
    let busy = try await TestClient.connect(port: port)
    try await busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    try await eventually("both were taken") { server.statistics().requests == 2 }
    let stopping = Task { await server.shutdown(grace: .seconds(20)) }
    #expect(try await idle.isClosedByServer())
    try await eventually("new connections are refused") {
      do {
        let late = try await TestClient.connect(port: port)
        _ = try? await late.readToEnd()
        return false
      } catch { return true }
    }
    await gate.set(true)
    let response = try await busy.response()
    #expect(response.text == "GET /slow ")
    #expect(response.fields["connection"] == "close")
    await stopping.value
    #expect(server.statistics().openConnections == 0)
  }

  @Test("what outlives the grace is cancelled, and what ignores that is cut off")
  func graceEnds() async throws {
    let cancelled = Box(false)
    try await withServer(responder: { request in
      if request.path == "/stubborn" {
        return Response(
          body: .stream { writer in
            try await writer.write("begun")
            while !(await cancelled.value) { await Task.yield() }
          })
      }
      return Response(
        body: .stream { writer in
          try await writer.write("begun")
          do { try await Task.sleep(for: .seconds(3600)) } catch { await cancelled.set(true) }
          try? await writer.write("ended")
        })
    }) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.get)
      _ = try await client.read(upTo: "begun\r\n")
      let stubborn = try await TestClient.connect(port: port)
      try await stubborn.send("GET /stubborn HTTP/1.1\r\nHost: x\r\n\r\n")
      _ = try await stubborn.read(upTo: "begun\r\n")
      await server.shutdown(grace: .milliseconds(50))
      #expect(await cancelled.value)
      #expect(server.statistics().openConnections == 0)
    }
  }

  @Test("a server starts once")
  func startsOnce() async throws {
    try await withServer(responder: echo) { server, _ in
      await #expect(throws: ServerError.alreadyStarted) { try await server.start() }
    }
  }
}
