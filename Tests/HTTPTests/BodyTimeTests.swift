import Execution
import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("Time of request bodies")
struct BodyTimeTests {
  /// Sends a byte of a body again and again until the server has had enough, or the test is over.
  static func drip(_ client: TestClient) -> Task<Void, Never> {
    Task {
      while !Task.isCancelled {
        guard (try? await client.send("x")) != nil, (try? await Task.sleep(for: .milliseconds(20))) != nil else {
          return
        }
      }
    }
  }

  @Test("a body that drips more slowly than the rate is given up, although it is never silent")
  func rate() async throws {
    try await withServer(limits: LimitTests.limits { $0.bodyIdle = .milliseconds(500) }, responder: echo) {
      server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
      let dripping = Self.drip(client)
      #expect(try await client.response().status == 408)
      dripping.cancel()
      await dripping.value
      #expect(server.statistics().timeouts == 1)
    }
  }

  @Test("a reader can ask for the whole body within a time, whatever the rate")
  func total() async throws {
    try await withServer(
      limits: LimitTests.limits { $0.bodyRate = 1 },
      responder: { request in
        do throws(BodyError) {
          return Response(
            contentType: "a/b", body: try await request.body.collect(upTo: 1 << 20, within: .milliseconds(500)))
        } catch {
          return Response(status: error == .timedOut ? .requestTimeout : .internalServerError)
        }
      }
    ) { _, port in
      let client = try await TestClient.connect(port: port)
      let whole = try await client.request(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
      #expect(whole.text == "ok")
      try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
      let dripping = Self.drip(client)
      #expect(try await client.response().status == 408)
      dripping.cancel()
      await dripping.value
    }
  }

  @Test("a sparse body may be slow for longer than the limit of silence")
  func sparse() async throws {
    try await withServer(
      limits: LimitTests.limits { $0.bodyIdle = .seconds(2) },
      responder: { request in
        if request.path == "/dense" { return await echo(request) }
        var count = 0
        do { for try await chunk in request.body.sparse { count += chunk.count } } catch {
          return Response(status: .requestTimeout)
        }
        return Response(contentType: "a/b", body: Array("\(count)".utf8))
      }
    ) { server, port in
      let sparse = try await TestClient.connect(port: port)
      try await sparse.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
      try await eventually("it is being read") { server.statistics().requests == 1 }
      let dense = try await TestClient.connect(port: port)
      try await dense.send("POST /dense HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
      // As long as it takes for the other one to be too slow.
      var count = 0
      while server.statistics().timeouts == 0 {
        try await sparse.send("1\r\nx\r\n")
        try? await dense.send("1\r\nx\r\n")
        count += 1
        try await Task.sleep(for: .milliseconds(20))
      }
      try await sparse.send("0\r\n\r\n")
      #expect(try await sparse.response().text == "\(count)")
    }
  }

  @Test("a client that waits for 100 Continue is not the one who is late")
  func heldContinue() async throws {
    let gate = Box(false)
    try await withServer(
      limits: LimitTests.limits { $0.bodyIdle = .seconds(2) },
      responder: { request in
        if request.path == "/held" { try? await eventually("the gate opens") { await gate.value } }
        return await echo(request)
      }
    ) { server, port in
      let held = try await TestClient.connect(port: port)
      try await held.send("POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
      try await eventually("it is being handled") { server.statistics().requests == 1 }
      // One who really is late, to measure by.
      let late = try await TestClient.connect(port: port)
      #expect(try await late.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n").status == 408)
      await gate.set(true)
      #expect(try await held.response().status == 100)
      try await held.send("hello")
      #expect(try await held.response().text == "POST /held hello")
    }
  }

  @Test("the limits leave a quarter of the descriptors free, and no peer gets more than half of the rest")
  func descriptors() {
    let small = Limits().fitting(descriptors: 1024)
    #expect(small.connections == 768 && small.connectionsPerPeer == 384)
    let large = Limits().fitting(descriptors: 1 << 20)
    #expect(large.connections == 16_384 && large.connectionsPerPeer == 1_024)
    let tiny = Limits().fitting(descriptors: 1)
    #expect(tiny.connections == 1 && tiny.connectionsPerPeer == 1)
  }

  @Test("a task that still reads the body when the handler answers is told, instead of waiting for ever")
  func abandonedReader() async throws {
    let outcome = Box<BodyError?>(nil)
    try await withServer(responder: { request in
      let (begun, begin) = AsyncStream<Void>.makeStream()
      Task {
        do throws(BodyError) {
          var body = request.body.makeAsyncIterator()
          _ = try await body.next()
          begin.yield()
          while try await body.next() != nil {}
        } catch { await outcome.set(error) }
      }
      for await _ in begun { break }
      return Response()
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      #expect(try await client.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf").status == 200)
      try await eventually("the reader is told") { await outcome.value == .unavailable }
    }
  }
}
