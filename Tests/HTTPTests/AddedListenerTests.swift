import Glibc
import Testing

@testable import HTTP

@Suite("Listeners that are added")
struct AddedListenerTests {
  @Test("a socket of its owner's is served under its name until it is taken back; the others go on")
  func naming() async throws {
    try await withServer(responder: { request in
      Response(contentType: "text/plain", body: Array((request.peer.listener ?? "none").utf8))
    }) { server, port in
      let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
      let (socket, address) = try ListeningSocket.open(.ip(host: "127.0.0.1", port: 0, tls: nil), limits: Limits())
      let added = try #require(address.port)
      try await server.listen(on: socket, name: "blue")
      let client = try await TestClient.connect(port: added)
      #expect(try await client.request(get).text == "blue")
      #expect(try await TestClient.connect(port: port).request(get).text == "none")
      await server.stopListening(name: "blue")
      await #expect(throws: (any Error).self) { try await TestClient.connect(port: added) }
      #expect(try await client.request(get).text == "blue", "a connection that is open goes on")
      #expect(try await TestClient.connect(port: port).request(get).text == "none")
    }
  }

  @Test("a server that does not run takes none, and closes it")
  func refused() async throws {
    let server = Server(configuration: ServerConfiguration(listeners: []), logger: quiet) { _ in Response() }
    let (socket, _) = try ListeningSocket.open(.ip(host: "127.0.0.1", port: 0, tls: nil), limits: Limits())
    await #expect(throws: ServerError.notRunning) { try await server.listen(on: socket, name: "blue") }
  }
}
