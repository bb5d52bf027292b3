import COpenSSL
import Execution
import Foundation
import HTTP
import HTTPTypes
import TestSupport
import Testing

/// A certificate authority with server and client certificates, made by the `openssl` command.
struct TestAuthority {
  let directory: String
  private let thread = DedicatedThread(name: "openssl")

  init(_ directory: String) async throws {
    self.directory = directory
    try await makeAuthority("ca")
    try await issue("server", by: "ca")
  }

  var authority: String { "\(directory)/ca.pem" }

  func certificate(_ name: String) -> String { "\(directory)/\(name).pem" }
  func key(_ name: String) -> String { "\(directory)/\(name).key" }

  func makeAuthority(_ name: String) async throws {
    try await openssl([
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
      "/CN=\(name)", "-keyout", key(name), "-out", certificate(name),
    ])
  }

  func issue(_ name: String, by authority: String, subject: String? = nil) async throws {
    let request = "\(directory)/\(name).csr"
    try await openssl([
      "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
      "/CN=\(subject ?? name)", "-keyout", key(name), "-out", request,
    ])
    try await openssl([
      "x509", "-req", "-in", request, "-CA", certificate(authority), "-CAkey", key(authority), "-CAcreateserial",
      "-days", "2", "-out", certificate(name),
    ])
  }

  /// The DER form of a PEM certificate.
  func der(_ name: String) throws -> [UInt8] {
    let text = try String(contentsOfFile: certificate(name), encoding: .utf8)
    let lines = text.split(separator: "\n").filter { !$0.hasPrefix("-----") }
    return Array(try #require(Data(base64Encoded: lines.joined())))
  }

  private func openssl(_ arguments: [String]) async throws {
    let status = await thread.run { () -> Int32 in
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
      process.arguments = arguments
      process.standardOutput = FileHandle.nullDevice
      process.standardError = FileHandle.nullDevice
      do { try process.run() } catch { return -1 }
      process.waitUntilExit()
      return process.terminationStatus
    }
    try #require(status == 0, "openssl \(arguments.joined(separator: " "))")
  }

  func configuration(_ mode: TLSConfiguration.ClientCertificate = .none) -> TLSConfiguration {
    TLSConfiguration(
      certificateChainFile: certificate("server"), privateKeyFile: key("server"),
      clientCAFile: mode == .none ? nil : authority, clientCertificate: mode)
  }

  func client(_ name: String? = nil, version: Int32? = nil) -> TestClient.TLS {
    TestClient.TLS(
      authority: authority, certificate: name.map { certificate($0) }, key: name.map { key($0) }, version: version)
  }
}

@Suite("TLS")
struct TLSTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  static func withAuthority(_ body: (TestAuthority) async throws -> Void) async throws {
    try await withTemporaryDirectory { try await body(try await TestAuthority($0)) }
  }

  /// Answers with the peer's certificate.
  @Sendable
  static func certificate(_ request: Request) async -> Response {
    Response(contentType: "a/b", body: request.peer.certificate ?? [])
  }

  @Test("requests, streams and large bodies travel over TLS", arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
  func serves(version: Int32) async throws {
    let large = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    try await Self.withAuthority { authority in
      try await withServer(
        tls: authority.configuration(),
        responder: { request in
          switch request.path {
          case "/large": Response(contentType: "a/b", body: large)
          case "/stream":
            Response(body: .stream { for _ in 0..<20 { try await $0.write([UInt8](repeating: 5, count: 50_000)) } })
          default: await echo(request)
          }
        }
      ) { server, port in
        let client = try await TestClient.connect(port: port, tls: authority.client(version: version))
        #expect(try await client.request(Self.get).text == "GET / ")
        #expect(try await client.request("GET /large HTTP/1.1\r\nHost: x\r\n\r\n").body == large)
        #expect(try await client.request("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n").body.count == 1_000_000)
        let body = String(repeating: "b", count: 500_000)
        let posted = try await client.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n\(body)")
        #expect(posted.text == "POST / " + body)
        try await client.send(String(repeating: Self.get, count: 100))
        for _ in 0..<100 { #expect(try await client.response().status == 200) }
      }
    }
  }

  @Test("a body under TLS makes its client wait and then comes in full")
  func backPressure() async throws {
    let gate = Box(false)
    try await Self.withAuthority { authority in
      try await withServer(
        tls: authority.configuration(),
        responder: { request in
          try? await eventually("the gate opens") { await gate.value }
          var count = 0
          do { for try await chunk in request.body { count += chunk.count } } catch {
            return Response(status: .badRequest)
          }
          return Response(contentType: "a/b", body: Array("\(count)".utf8))
        }
      ) { server, port in
        let client = try await TestClient.connect(port: port, tls: authority.client())
        let total = 8 << 20
        try await client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(total)\r\n\r\n")
        let sending = Task { try await client.send([UInt8](repeating: 1, count: total)) }
        _ = try await settled("the server stops taking bytes") {
          let now = server.statistics().bytesReceived
          return now > 32 << 10 ? now : nil
        }
        #expect(server.statistics().bytesReceived < 1 << 20)
        await gate.set(true)
        try await sending.value
        #expect(try await client.response().text == "\(total)")
      }
    }
  }

  @Test("required: only a certificate of the authority gets in, and the handler sees it")
  func required() async throws {
    try await Self.withAuthority { authority in
      try await authority.issue("agent", by: "ca")
      try await authority.makeAuthority("rogue-ca")
      try await authority.issue("rogue", by: "rogue-ca")
      try await withServer(tls: authority.configuration(.required), responder: Self.certificate) { server, port in
        let client = try await TestClient.connect(port: port, tls: authority.client("agent"))
        #expect(try await client.request(Self.get).body == (try authority.der("agent")))
        for name in [nil, "rogue"] {
          await #expect(throws: TestClient.Failure.self) {
            // In TLS 1.3 the client learns of the refusal when it reads.
            let refused = try await TestClient.connect(port: port, tls: authority.client(name))
            _ = try await refused.request(Self.get)
          }
        }
        try await eventually("the failures are counted") { server.statistics().handshakeFailures == 2 }
      }
    }
  }

  @Test("optional: without a certificate in, with a good one known, with a bad one out")
  func optional() async throws {
    try await Self.withAuthority { authority in
      try await authority.issue("agent", by: "ca")
      try await authority.makeAuthority("rogue-ca")
      try await authority.issue("rogue", by: "rogue-ca")
      try await withServer(tls: authority.configuration(.optional), responder: Self.certificate) { _, port in
        let anonymous = try await TestClient.connect(port: port, tls: authority.client())
        #expect(try await anonymous.request(Self.get).body.isEmpty)
        let agent = try await TestClient.connect(port: port, tls: authority.client("agent"))
        #expect(try await agent.request(Self.get).body == (try authority.der("agent")))
        await #expect(throws: TestClient.Failure.self) {
          let rogue = try await TestClient.connect(port: port, tls: authority.client("rogue"))
          _ = try await rogue.request(Self.get)
        }
      }
    }
  }

  @Test("a client certificate is not asked for, nor believed, where the mode is none")
  func none() async throws {
    try await Self.withAuthority { authority in
      try await authority.issue("agent", by: "ca")
      try await withServer(tls: authority.configuration(), responder: Self.certificate) { _, port in
        let client = try await TestClient.connect(port: port, tls: authority.client("agent"))
        #expect(try await client.request(Self.get).body.isEmpty)
      }
    }
  }

  @Test("reloaded certificates are for new connections; bad files change nothing")
  func reload() async throws {
    try await Self.withAuthority { authority in
      try await withServer(tls: authority.configuration(), responder: echo) { server, port in
        let old = try await TestClient.connect(port: port, tls: authority.client())
        #expect(await old.serverSubject() == "/CN=server")
        try await authority.issue("server", by: "ca", subject: "renewed")
        try server.reloadCertificates()
        let new = try await TestClient.connect(port: port, tls: authority.client())
        #expect(await new.serverSubject() == "/CN=renewed")
        #expect(try await old.request(Self.get).status == 200)
        try "no key".write(toFile: authority.key("server"), atomically: true, encoding: .utf8)
        #expect(throws: ServerError.self) { try server.reloadCertificates() }
        let third = try await TestClient.connect(port: port, tls: authority.client())
        #expect(try await third.request(Self.get).status == 200)
      }
    }
  }

  @Test("certificate, key and authorities that lie in no file are used, and exchanged while connections stay")
  func texts() async throws {
    try await Self.withAuthority { authority in
      func text(_ path: String) throws -> PEMSource { .text(try String(contentsOfFile: path, encoding: .utf8)) }
      var configuration = authority.configuration()
      configuration.certificateChain = try text(authority.certificate("server"))
      configuration.privateKey = try text(authority.key("server"))
      try await withServer(tls: configuration, responder: echo) { server, port in
        let old = try await TestClient.connect(port: port, tls: authority.client())
        #expect(await old.serverSubject() == "/CN=server")
        try await authority.issue("server", by: "ca", subject: "renewed")
        configuration.certificateChain = try text(authority.certificate("server"))
        // The new certificate without its key changes nothing.
        #expect(throws: ServerError.self) { try server.use(configuration) }
        configuration.privateKey = try text(authority.key("server"))
        try server.use(configuration)
        let new = try await TestClient.connect(port: port, tls: authority.client())
        #expect(await new.serverSubject() == "/CN=renewed")
        #expect(try await old.request(Self.get).status == 200)
        configuration.privateKey = .text("no key")
        #expect(throws: ServerError.self) { try server.use(configuration) }
      }
    }
  }

  @Test("a start with unusable files names the file")
  func badFiles() async throws {
    try await Self.withAuthority { authority in
      var configuration = authority.configuration()
      configuration.privateKey = .file(authority.directory + "/absent.key")
      do {
        try await withServer(tls: configuration, responder: echo) { _, _ in }
        Issue.record("started")
      } catch let error as ServerError {
        #expect("\(error)".contains("absent.key"))
      }
    }
  }

  @Test("plain HTTP to a TLS port, garbage and a hang-up in the handshake leave the server serving")
  func hostileHandshakes() async throws {
    try await Self.withAuthority { authority in
      try await withServer(tls: authority.configuration(), responder: echo) { server, port in
        for text in [Self.get, "\u{16}\u{3}\u{1}garbage", ""] {
          let client = try await TestClient.connect(port: port)
          try await client.send(text)
          await client.finishSending()
          _ = try? await client.readToEnd()
        }
        let client = try await TestClient.connect(port: port, tls: authority.client())
        #expect(try await client.request(Self.get).status == 200)
        try await eventually("the failed ones are gone") { server.statistics().openConnections == 1 }
      }
    }
  }

  @Test("half a TLS record occupies nobody but its sender")
  func halfRecord() async throws {
    try await Self.withAuthority { authority in
      try await withServer(tls: authority.configuration(), configure: { $0.loops = 1 }, responder: echo) {
        server, port in
        let slow = try await TestClient.connect(port: port, tls: authority.client())
        #expect(try await slow.request(Self.get).status == 200)
        try await slow.sendHalf(of: Self.get)
        for _ in 0..<5 {
          let other = try await TestClient.connect(port: port, tls: authority.client())
          #expect(try await other.request(Self.get).status == 200)
        }
        await slow.sendRest()
        #expect(try await slow.response().status == 200)
      }
    }
  }

  @Test("a client that has said goodbye still gets the answer it asked for")
  func halfClose() async throws {
    let gate = Box(false)
    try await Self.withAuthority { authority in
      try await withServer(
        tls: authority.configuration(),
        responder: { _ in
          while !(await gate.value) { await Task.yield() }
          return Response(contentType: "a/b", body: Array("late".utf8))
        }
      ) { server, port in
        let client = try await TestClient.connect(port: port, tls: authority.client())
        try await client.send(Self.get)
        try await eventually("the request is being handled") { server.statistics().requests == 1 }
        await client.finishSending()
        await gate.set(true)
        #expect(try await client.response().text == "late")
      }
    }
  }
}
