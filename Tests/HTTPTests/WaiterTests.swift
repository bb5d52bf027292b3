import Execution
import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("Waiters and times")
struct WaiterTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  @Test("cancelling one task that writes does not fail another that writes, too")
  func writersAreApart() async throws {
    let outcomes = Box<[String: StreamError?]>([:])
    try await withServer(responder: { _ in
      Response(
        body: .stream { writer in
          // Each suspends, because nobody reads.
          let write: @Sendable (String) -> Task<Void, Never> = { name in
            Task {
              var outcome: StreamError?
              do { try await writer.write([UInt8](repeating: 0, count: 1 << 20)) } catch {
                outcome = error as? StreamError
              }
              await outcomes.update { [outcome] in $0[name] = .some(outcome) }
            }
          }
          let (first, second) = (write("first"), write("second"))
          first.cancel()
          await first.value
          await second.value
        })
    }) { _, port in
      let client = try await TestClient.connect(port: port, receiveBuffer: 64 << 10)
      try await client.send(Self.get)
      try await eventually("the first is cancelled") { await outcomes.value["first"] != nil }
      #expect(await outcomes.value["second"] == nil)
      #expect(try await client.response().body.count == 2 << 20)
      try await eventually("the second has written") { await outcomes.value["second"] == .some(nil) }
      #expect(await outcomes.value["first"] == .some(.cancelled))
    }
  }

  @Test("the time between requests begins when the client has the answer")
  func idleAfterSlowAnswer() async throws {
    let body = [UInt8](repeating: 1, count: 4 << 20)
    try await withServer(
      limits: LimitTests.limits { $0.keepAliveIdle = .seconds(3) },
      responder: { request in request.path == "/" ? Response(contentType: "a/b", body: body) : Response() }
    ) { server, port in
      let slow = try await TestClient.connect(port: port, receiveBuffer: 64 << 10)
      try await slow.send(Self.get)
      try await eventually("the answer waits") { server.statistics().responses[2] == 1 }
      // One who is idle, to measure by.
      let idle = try await TestClient.connect(port: port)
      #expect(try await idle.request("GET /idle HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
      #expect(try await idle.isClosedByServer())
      #expect(try await slow.response().body.count == body.count)
      #expect(try await slow.request("GET /next HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
    }
  }

  @Test("a server whose start failed can be started again")
  func startAgain() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/later/s"
      let server = Server(
        configuration: ServerConfiguration(listeners: [.unix(path: path)]), logger: quiet, responder: echo)
      await #expect(throws: ServerError.self) { try await server.start() }
      try makeDirectory(directory + "/later")
      #expect(try await server.start() == [.unix(path: path)])
      await server.shutdown(grace: .zero)
    }
  }

  @Test("a client that sends without end over TLS does not keep its loop from the others")
  func fairness() async throws {
    try await TLSTests.withAuthority { authority in
      let go = Lock(true)
      try await withServer(
        tls: authority.configuration(), configure: { $0.loops = 1 },
        responder: { request in
          if request.method == .get { return Response() }
          do { for try await _ in request.body {} } catch { return Response(status: .badRequest) }
          return Response()
        }
      ) { _, port in
        let greedy = try await TestClient.connect(port: port, tls: authority.client())
        try await greedy.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(Int64(1) << 40)\r\n\r\n")
        let sending = Task {
          let piece = [UInt8](repeating: 0, count: 1 << 20)
          while go.withLock({ $0 }) { try await greedy.send(piece) }
        }
        let other = try await TestClient.connect(port: port, tls: authority.client())
        for _ in 0..<20 { #expect(try await other.request(Self.get).status == 200) }
        go.withLock { $0 = false }
        _ = try? await sending.value
        await greedy.disconnect()
      }
    }
  }
}
