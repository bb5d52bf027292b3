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

  @Test("who takes all that one listener gives leaves places for another, and for the same address there")
  func fairness() async throws {
    var limits = Limits()
    limits.connections = 8
    limits.connectionsPerPeer = 6
    try await withServer(limits: limits, responder: echo) { server, _ in
      var ports: [Int] = []
      for name in ["blue", "red"] {
        let (socket, address) = try ListeningSocket.open(.ip(host: "127.0.0.1", port: 0, tls: nil), limits: limits)
        try await server.listen(on: socket, name: name)
        ports.append(try #require(address.port))
      }
      var clients: [TestClient] = []
      for _ in 0..<4 {
        let client = try await TestClient.connect(port: ports[0])
        #expect(try await client.request(LimitTests.get).status == 200)
        clients.append(client)
      }
      // Half of all places: the others are for other networks.
      #expect(try await TestClient.connect(port: ports[0]).isClosedByServer())
      for _ in 0..<2 {
        let client = try await TestClient.connect(port: ports[1])
        #expect(try await client.request(LimitTests.get).status == 200)
        clients.append(client)
      }
      #expect(try await TestClient.connect(port: ports[1]).isClosedByServer())
    }
  }

  @Test("by a named listener each IPv6 address is a peer, by one without name each /64")
  func version6Peers() {
    func key(_ listener: String?, _ number: Int) -> Admission.Key {
      let address = SocketAddress(host: "fe80::\(number)", port: 80)
      return Admission.Key(listener: listener, peer: address?.peerKey(isWhole: listener != nil))
    }
    #expect(key("blue", 1) != key("blue", 2) && key("blue", 1) != key("red", 1) && key("blue", 1) == key("blue", 1))
    #expect(key(nil, 1) == key(nil, 2) && key(nil, 1).peer != nil)
  }

  @Test("a server that does not run takes none, and closes it")
  func refused() async throws {
    let server = Server(configuration: ServerConfiguration(listeners: []), logger: quiet) { _ in Response() }
    let (socket, _) = try ListeningSocket.open(.ip(host: "127.0.0.1", port: 0, tls: nil), limits: Limits())
    await #expect(throws: ServerError.notRunning) { try await server.listen(on: socket, name: "blue") }
  }
}
