import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("Request bodies")
struct BodyTests {
  static let get = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"

  static func post(_ path: String = "/", _ fields: String, _ body: String = "") -> String {
    "POST \(path) HTTP/1.1\r\nHost: x\r\n\(fields)\r\n\r\n\(body)"
  }

  @Test("a body arrives whole, with a length or in chunks, in one piece or byte by byte")
  func echoes() async throws {
    try await withServer(responder: echo) { _, port in
      let client = try await TestClient.connect(port: port)
      let texts = [
        Self.post("/", "Content-Length: 5", "hello"),
        Self.post("/", "Transfer-Encoding: chunked", "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: 1\r\n\r\n"),
      ]
      for text in texts {
        #expect(try await client.request(text).text == "POST / hello")
        for byte in text.utf8 { try await client.send([byte]) }
        #expect(try await client.response().text == "POST / hello")
      }
      // A head, its body and the next request in one read.
      try await client.send(texts.joined() + Self.get)
      #expect(try await client.response().text == "POST / hello")
      #expect(try await client.response().text == "POST / hello")
      #expect(try await client.response().text == "GET /next ")
    }
  }

  @Test("a large body streams through a handler that reads it chunk by chunk")
  func streams() async throws {
    try await withServer(responder: { request in
      var sum = 0
      var count = 0
      do {
        for try await chunk in request.body {
          count += chunk.count
          for byte in chunk { sum &+= Int(byte) }
        }
      } catch { return Response(status: .badRequest) }
      return Response(contentType: "text/plain", body: Array("\(count) \(sum)".utf8))
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      let piece = [UInt8](repeating: 3, count: 100_000)
      try await client.send(Self.post("/", "Content-Length: 5000000"))
      for _ in 0..<50 { try await client.send(piece) }
      #expect(try await client.response().text == "5000000 15000000")
    }
  }

  @Test("a handler that does not read makes the client wait, and bytes in the server stay bounded")
  func backPressure() async throws {
    let gate = Box(false)
    try await withServer(responder: { request in
      try? await eventually("the gate opens") { await gate.value }
      var count = 0
      do { for try await chunk in request.body { count += chunk.count } } catch { return Response(status: .badRequest) }
      return Response(contentType: "text/plain", body: Array("\(count)".utf8))
    }) { server, port in
      let client = try await TestClient.connect(port: port)
      let total = 32 << 20
      try await client.send(Self.post("/", "Content-Length: \(total)"))
      let sending = Task { try await client.send([UInt8](repeating: 0, count: total)) }
      let taken = try await settled("the server stops taking bytes") {
        let now = server.statistics().bytesReceived
        return now > 0 ? now : nil
      }
      #expect(taken < 1 << 20)
      await gate.set(true)
      try await sending.value
      #expect(try await client.response().text == "\(total)")
    }
  }

  @Test("100 Continue is sent when the handler begins to read, and not before")
  func expectContinue() async throws {
    let gate = Box(false)
    try await withServer(responder: { request in
      try? await eventually("the gate opens") { await gate.value }
      return await echo(request)
    }) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.post("/", "Content-Length: 5\r\nExpect: 100-continue"))
      try await eventually("the request is being handled") { server.statistics().requests == 1 }
      #expect(server.statistics().bytesSent == 0)
      await gate.set(true)
      #expect(try await client.response().status == 100)
      try await client.send("hello")
      #expect(try await client.response().text == "POST / hello")
    }
  }

  @Test("a handler that answers an expectation without reading ends the connection")
  func expectRefused() async throws {
    try await withServer(responder: { _ in Response(status: .unauthorized) }) { _, port in
      let client = try await TestClient.connect(port: port)
      let response = try await client.request(Self.post("/", "Content-Length: 5\r\nExpect: 100-continue"))
      #expect(response.status == 401)
      #expect(response.fields["connection"] == "close")
      #expect(try await client.isClosedByServer())
    }
  }

  @Test("an unread body is never taken for a request", arguments: [false, true])
  func smuggling(chunked: Bool) async throws {
    let paths = Box<[String]>([])
    try await withServer(responder: { request in
      await paths.update { $0.append(request.path) }
      return Response(status: .notFound)
    }) { _, port in
      let inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
      let text =
        chunked
        ? Self.post(
          "/a", "Transfer-Encoding: chunked", "\(String(inner.utf8.count, radix: 16))\r\n\(inner)\r\n0\r\n\r\n")
        : Self.post("/a", "Content-Length: \(inner.utf8.count)", inner)
      let client = try await TestClient.connect(port: port)
      // The body comes in a later read than the head.
      let head = Self.post("/a", chunked ? "Transfer-Encoding: chunked" : "Content-Length: \(inner.utf8.count)")
      try await client.send(head)
      #expect(try await client.response().status == 404)
      try await client.send(Array(text.utf8.dropFirst(head.utf8.count)) + Array(Self.get.utf8))
      #expect(try await client.response().status == 404)
      #expect(await paths.value == ["/a", "/next"])
    }
  }

  @Test("an unread body that is too long to drop ends the connection after the answer")
  func unreadLarge() async throws {
    let paths = Box<[String]>([])
    try await withServer(responder: { request in
      await paths.update { $0.append(request.path) }
      return Response(status: .forbidden)
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      let body = String(repeating: "x", count: 200_000)
      try await client.send(Self.post("/a", "Content-Length: 400000", body))
      let response = try await client.response()
      #expect(response.status == 403)
      #expect(response.fields["connection"] == "close")
      #expect(try await client.isClosedByServer())
      let chunky = try await TestClient.connect(port: port)
      try await chunky.send(Self.post("/b", "Transfer-Encoding: chunked", "5\r\nhello\r\n"))
      #expect(try await chunky.response().status == 403)
      try? await chunky.send("40000\r\n" + body + body + Self.get)
      #expect(try await chunky.isClosedByServer())
      #expect(await paths.value == ["/a", "/b"])
    }
  }

  @Test("a reader's own limit is kept, before reading where the length is known")
  func readerLimit() async throws {
    try await withServer(responder: { request in
      do throws(BodyError) { return Response(contentType: "t/t", body: try await request.body.collect(upTo: 10)) } catch
      {
        return Response(status: error == .tooLarge(limit: 10) ? .contentTooLarge : .internalServerError)
      }
    }) { _, port in
      for text in [
        Self.post("/", "Content-Length: 11", "hello world"), Self.post("/", "Content-Length: 99999999999"),
        Self.post("/", "Transfer-Encoding: chunked", "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"),
      ] {
        let client = try await TestClient.connect(port: port)
        #expect(try await client.request(text).status == 413)
      }
      let client = try await TestClient.connect(port: port)
      #expect(try await client.request(Self.post("/", "Content-Length: 10", "0123456789")).text == "0123456789")
    }
  }

  @Test("the server's cap refuses a declared body before the handler runs, and a chunked one while it comes")
  func cap() async throws {
    var limits = Limits()
    limits.maximumBody = 10
    try await withServer(limits: limits, responder: echo) { server, port in
      let declared = try await TestClient.connect(port: port)
      #expect(try await declared.request(Self.post("/", "Content-Length: 11")).status == 413)
      #expect(server.statistics().requests == 0)
      let chunked = try await TestClient.connect(port: port)
      try await chunked.send(Self.post("/", "Transfer-Encoding: chunked", "5\r\nhello\r\n"))
      try await eventually("the handler runs") { server.statistics().requests == 1 }
      try await chunked.send("6\r\n world\r\n0\r\n\r\n")
      #expect(try await chunked.response().status == 413)
      #expect(try await chunked.isClosedByServer())
    }
  }

  @Test("a body that breaks the chunked coding fails the reader and ends the connection")
  func malformed() async throws {
    try await withServer(responder: echo) { server, port in
      let late = try await TestClient.connect(port: port)
      try await late.send(Self.post("/", "Transfer-Encoding: chunked", "5\r\nhello\r\n"))
      try await eventually("the handler runs") { server.statistics().requests == 1 }
      try await late.send("zz\r\n")
      #expect(try await late.response().status == 400)
      #expect(try await late.isClosedByServer())
      let early = try await TestClient.connect(port: port)
      #expect(try await early.request(Self.post("/", "Transfer-Encoding: chunked", "zz\r\n")).status == 400)
      #expect(try await early.isClosedByServer())
    }
  }

  @Test("a client that leaves in the middle of its body fails the reader and cancels the handler")
  func clientLeaves() async throws {
    let outcome = Box<BodyError?>(nil)
    let cancelled = Box(false)
    try await withServer(responder: { request in
      do throws(BodyError) { _ = try await request.body.collect(upTo: 1000) } catch { await outcome.set(error) }
      await cancelled.set(Task.isCancelled)
      return Response()
    }) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.post("/", "Content-Length: 100", "only this"))
      try await eventually("the handler runs") { server.statistics().requests == 1 }
      await client.disconnect()
      try await eventually("the reader is told") { await outcome.value == .incomplete }
      try await eventually("the handler is cancelled") { await cancelled.value }
      try await eventually("the connection is gone") { server.statistics().openConnections == 0 }
    }
  }

  @Test("a read that is cancelled ends, and reading after the answer is refused")
  func cancelledRead() async throws {
    let outcome = Box<BodyError?>(nil)
    let kept = Box<RequestBody?>(nil)
    try await withServer(responder: { request in
      await kept.set(request.body)
      let hasBegun = Box(false)
      let reading = Task { () -> BodyError? in
        do {
          for try await _ in request.body { await hasBegun.set(true) }
          return nil
        } catch { return error as? BodyError }
      }
      try? await eventually("the first bytes are read") { await hasBegun.value }
      reading.cancel()
      await outcome.set(await reading.value)
      return Response()
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      #expect(try await client.request(Self.post("/", "Content-Length: 100", "only this")).status == 200)
      #expect(await outcome.value == .cancelled)
      let body = try #require(await kept.value)
      await #expect(throws: BodyError.unavailable) { try await body.collect(upTo: 1000) }
    }
  }
}
