import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("Server")
struct ServerTests {
  static let get = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"

  @Test("a connection serves request after request and says the date")
  func keepAlive() async throws {
    try await withServer(responder: echo) { server, port in
      let client = try await TestClient.connect(port: port)
      for _ in 0..<3 {
        let response = try await client.request(Self.get)
        #expect(response.status == 200)
        #expect(response.reason == "OK")
        #expect(response.text == "GET /a ")
        #expect(response.fields["date"]?.hasSuffix(" GMT") == true)
        #expect(response.fields["connection"] == nil)
      }
      #expect(server.statistics().requests == 3)
      #expect(server.statistics().accepted == 1)
      #expect(server.statistics().responses[2] == 3)
    }
  }

  @Test("pipelined requests are answered in order, slow ones first if they came first")
  func pipelining() async throws {
    let gate = Box(false)
    try await withServer(
      immediate: { $0.path == "/now" ? Response(contentType: "text/plain", body: Array("now".utf8)) : nil },
      responder: { request in
        if request.path == "/slow" { try? await eventually("the gate opens") { await gate.value } }
        return await echo(request)
      }
    ) { _, port in
      let client = try await TestClient.connect(port: port)
      let paths = ["/slow", "/now", "/b", "/now", "/c"]
      try await client.send(paths.map { "GET \($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined())
      await gate.set(true)
      for expected in ["GET /slow ", "now", "GET /b ", "now", "GET /c "] {
        #expect(try await client.response().text == expected)
      }
    }
  }

  @Test("more pipelined requests than any buffer holds are all answered")
  func longPipeline() async throws {
    try await withServer(
      immediate: {
        $0.path == "/now" ? Response(contentType: "text/plain", body: [UInt8](repeating: 1, count: 900)) : nil
      },
      responder: echo
    ) { _, port in
      for path in ["/now", "/task"] {
        let client = try await TestClient.connect(port: port)
        let count = 3000
        let request = "GET \(path) HTTP/1.1\r\nHost: x\r\nX-Fill: \(String(repeating: "f", count: 100))\r\n\r\n"
        // The client blocks while it sends, so it must not send more than the kernel and the server hold.
        for _ in 0..<count / 100 {
          try await client.send(String(repeating: request, count: 100))
          for _ in 0..<100 { #expect(try await client.response().status == 200) }
        }
      }
    }
  }

  @Test("HEAD gets the head of GET and no body")
  func head() async throws {
    try await withServer(responder: { request in
      request.path == "/stream"
        ? Response(headers: [.contentType: "a/b"], body: .stream { try await $0.write("never sent") })
        : Response(contentType: "a/b", body: Array("12345".utf8))
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      try await client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
      let response = try await client.response(toHead: true)
      #expect(response.fields["content-length"] == "5")
      #expect(response.fields["content-type"] == "a/b")
      try await client.send("HEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(try await client.response(toHead: true).fields["transfer-encoding"] == "chunked")
      #expect(try await client.request(Self.get).text == "12345")
    }
  }

  @Test("statuses without body are sent without one, and handlers cannot break the framing")
  func framing() async throws {
    try await withServer(responder: { request in
      switch request.path {
      case "/204": Response(status: .noContent, body: .bytes([1, 2, 3]))
      case "/304": Response(status: .notModified, headers: [.contentLength: "77"], body: .bytes([1]))
      case "/lies":
        Response(
          headers: [.contentLength: "1", .transferEncoding: "gzip", .date: "then", .eTag: "\"1\""],
          body: .bytes(Array("four".utf8)))
      case "/100": Response(status: .continue)
      case "/close": Response(headers: [.connection: "close"])
      default: Response(status: .init(code: 409))
      }
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      func get(_ path: String) async throws -> TestResponse {
        try await client.request("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
      }
      let none = try await get("/204")
      #expect(none.fields["content-length"] == nil && none.fields["transfer-encoding"] == nil)
      #expect(try await get("/304").fields["content-length"] == "77")
      let lies = try await get("/lies")
      #expect(lies.text == "four")
      #expect(lies.fields["date"] == "then")
      #expect(lies.fields["etag"] == "\"1\"")
      #expect(try await get("/100").status == 500)
      #expect(try await get("/other").reason == "Conflict")
      let last = try await get("/close")
      #expect(last.fields["connection"] == "close" && last.fields["content-length"] == "0")
      #expect(try await client.isClosedByServer())
    }
  }

  @Test("HTTP/1.0 closes unless it asked to stay, and streams to it end with the connection")
  func http10() async throws {
    try await withServer(responder: { request in
      request.path == "/stream"
        ? Response(
          body: .stream { writer in
            try await writer.write("one ")
            try await writer.write("two")
          }) : await echo(request)
    }) { _, port in
      var client = try await TestClient.connect(port: port)
      let closing = try await client.request("GET / HTTP/1.0\r\n\r\n")
      #expect(closing.fields["connection"] == "close")
      #expect(try await client.isClosedByServer())
      client = try await TestClient.connect(port: port)
      let staying = try await client.request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      #expect(staying.fields["connection"] == "keep-alive")
      try await client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      let streamed = try await client.response()
      #expect(streamed.text == "one two")
      #expect(streamed.fields["transfer-encoding"] == nil)
    }
  }

  @Test(
    "what the parser refuses is answered as a problem document, and the connection ends",
    arguments: [
      ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/2.0\r\n", 505), ("BREW * HTTP/1.1\r\n", 400),
      ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
      ("GET /" + String(repeating: "a", count: 9000) + " HTTP/1.1\r\n", 414),
      ("GET / HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "a", count: 40_000) + "\r\n\r\n", 431),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ])
  func refusal(request: String, status: Int) async throws {
    try await withServer(responder: echo) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(request + Self.get)
      let response = try await client.response()
      #expect(response.status == status)
      #expect(response.fields["content-type"] == "application/problem+json")
      #expect(response.fields["connection"] == "close")
      #expect(response.text.contains("\"status\":\(status)"))
      #expect(try await client.isClosedByServer())
      #expect(server.statistics().refusedRequests == 1)
      #expect(server.statistics().requests == 0)
    }
  }

  @Test("the program can give the server's own errors its own form")
  func errorBody() async throws {
    try await withServer(
      configure: { $0.errorBody = { status, _ in ("text/plain", Array("E\(status.code)".utf8)) } }, responder: echo
    ) { _, port in
      let client = try await TestClient.connect(port: port)
      let response = try await client.request("nonsense\r\n\r\n")
      #expect(response.text == "E400")
      #expect(response.fields["content-type"] == "text/plain")
    }
  }

  @Test("the request tells method, path, query, authority, fields and peer")
  func requestParts() async throws {
    let seen = Box<Request?>(nil)
    try await withServer(responder: { request in
      await seen.set(request)
      return Response()
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      _ = try await client.request(
        "PATCH /v1/vms/a%2Fb?x=1&y= HTTP/1.1\r\nHost: api:1\r\nX-Odd: 7\r\nAccept: */*\r\n\r\n")
      let request = try #require(await seen.value)
      #expect(request.method == .patch)
      #expect(request.path == "/v1/vms/a%2Fb")
      #expect(request.query == "x=1&y=")
      #expect(request.head.path == "/v1/vms/a%2Fb?x=1&y=")
      #expect(request.head.authority == "api:1")
      #expect(request.headers[.accept] == "*/*")
      #expect(HTTPField.Name("x-odd").flatMap { request.headers[$0] } == "7")
      #expect(request.peer.address == "127.0.0.1")
      #expect(request.peer.port != nil)
      #expect(!request.peer.isTLS && request.peer.certificate == nil)
      #expect(request.body.declaredLength == 0)
    }
  }

  @Test("IPv6 and Unix-domain sockets are served, a stale socket file is replaced, a live one is not")
  func otherListeners() async throws {
    try await withTemporaryDirectory { directory in
      let path = directory + "/s"
      let peers = Box<[String]>([])
      let responder: Responder = { request in
        await peers.update { $0.append(request.peer.address) }
        return Response()
      }
      let listeners: [ServerConfiguration.Listener] = [.ip(host: "::1", port: 0, tls: nil), .unix(path: path)]
      try await withServer(configure: { $0.listeners = listeners }, responder: responder) { _, port in
        let overIPv6 = try await TestClient.connect(port: port, host: "::1")
        #expect(try await overIPv6.request(Self.get).status == 200)
        let overUnix = try await TestClient.connect(unix: path)
        #expect(try await overUnix.request(Self.get).status == 200)
        #expect(await peers.value == ["::1", "unix"])
        await #expect(throws: ServerError.self) {
          try await withServer(configure: { $0.listeners = [.unix(path: path)] }, responder: responder) { _, _ in }
        }
      }
      try await makeStaleSocket(path)
      try await withServer(configure: { $0.listeners = [.unix(path: path)] }, responder: responder) { _, _ in
        let client = try await TestClient.connect(unix: path)
        #expect(try await client.request(Self.get).status == 200)
      }
    }
  }

  @Test("an address that cannot be bound is said, and a name is not an address")
  func badListeners() async throws {
    try await withServer(responder: echo) { _, port in
      await #expect(throws: ServerError.self) {
        try await withServer(
          configure: { $0.listeners = [.ip(host: "127.0.0.1", port: port, tls: nil)] }, responder: echo
        ) { _, _ in }
      }
      await #expect(throws: ServerError.invalidAddress("localhost:0")) {
        try await withServer(configure: { $0.listeners = [.ip(host: "localhost", port: 0, tls: nil)] }, responder: echo)
        {
          _, _ in
        }
      }
    }
  }
}
