import COpenSSL
import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("What TLS peers may do")
struct TLSPeerTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  @Test("a client of TLS 1.3 may change its keys, and ask the server to, between requests and in a body")
  func keyUpdate() async throws {
    try await TLSTests.withAuthority { authority in
      try await withServer(tls: authority.configuration(), responder: echo) { _, port in
        let client = try await TestClient.connect(port: port, tls: authority.client(version: TLS1_3_VERSION))
        for _ in 0..<3 {
          #expect(await client.updateKeys())
          #expect(try await client.request(Self.get).text == "GET / ")
        }
        try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        #expect(await client.updateKeys())
        try await client.send("def")
        #expect(try await client.response().text == "POST / abcdef")
      }
    }
  }

  @Test("renegotiation is refused, and the server goes on serving others")
  func renegotiation() async throws {
    try await TLSTests.withAuthority { authority in
      try await withServer(tls: authority.configuration(), responder: echo) { _, port in
        let client = try await TestClient.connect(port: port, tls: authority.client(version: TLS1_2_VERSION))
        #expect(try await client.request(Self.get).status == 200)
        #expect(await client.renegotiates() == false)
        let other = try await TestClient.connect(port: port, tls: authority.client())
        #expect(try await other.request(Self.get).status == 200)
      }
    }
  }

  @Test("a body that is cut off without a goodbye is not taken for a whole one")
  func truncation() async throws {
    let outcome = Box<BodyError?>(nil)
    try await TLSTests.withAuthority { authority in
      try await withServer(
        tls: authority.configuration(),
        responder: { request in
          do throws(BodyError) { _ = try await request.body.collect(upTo: 1000) } catch { await outcome.set(error) }
          return Response()
        }
      ) { server, port in
        for (index, fields) in ["Content-Length: 100", "Transfer-Encoding: chunked"].enumerated() {
          await outcome.set(nil)
          let client = try await TestClient.connect(port: port, tls: authority.client())
          try await client.send("POST / HTTP/1.1\r\nHost: x\r\n\(fields)\r\n\r\n3\r\nabc\r\n")
          try await eventually("the body is being read") { server.statistics().requests == index + 1 }
          await client.disconnect()
          try await eventually("the reader is told") { await outcome.value == .incomplete }
          try await eventually("the connection is gone") { server.statistics().openConnections == 0 }
        }
      }
    }
  }
}
