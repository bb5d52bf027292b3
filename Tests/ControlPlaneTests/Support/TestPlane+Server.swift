import AloftModel
import Crypto
import Foundation
import HTTP
import HTTPClient
import HTTPTypes
import JSON
import TestSupport
import Testing

extension TestPlane {
  /// What a test needs to talk to the plane over sockets.
  struct Reach: Sendable {
    var url: String
    /// Shows no certificate.
    var client: HTTPClient
    /// The folder with the PEM files.
    var directory: String

    /// A client that shows the certificate of a node.
    func client(certificate: String, key: P256.Signing.PrivateKey) throws -> HTTPClient {
      try certificate.write(toFile: directory + "/node.crt", atomically: true, encoding: .utf8)
      try key.pemRepresentation.write(toFile: directory + "/node.key", atomically: true, encoding: .utf8)
      return HTTPClient(
        configuration: HTTPClientConfiguration(
          trustRoots: .file(directory + "/ca.crt"),
          clientCertificate: .init(certificateFile: directory + "/node.crt", keyFile: directory + "/node.key")),
        logger: quiet)
    }
  }

  /// Runs `body` with the plane behind a real server with TLS on a free port.
  func withServer(_ body: (Reach) async throws -> Void) async throws {
    let directory = NSTemporaryDirectory() + "aloft-tls-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let made = try authority.issueServer(names: ["127.0.0.1"], now: Date(), lifetime: 3600)
    TestSecrets.register(made.privateKeyPEM)
    for (name, text) in [
      ("ca.crt", authorityPEM), ("server.crt", made.certificatePEM), ("server.key", made.privateKeyPEM),
    ] {
      try text.write(toFile: directory + "/" + name, atomically: true, encoding: .utf8)
    }
    let tls = TLSConfiguration(
      certificateChainFile: directory + "/server.crt", privateKeyFile: directory + "/server.key",
      clientCAFile: directory + "/ca.crt", clientCertificate: .optional)
    let plane = plane
    let server = Server(
      configuration: ServerConfiguration(listeners: [.ip(host: "127.0.0.1", port: 0, tls: tls)]), logger: quiet,
      responder: { await plane.respond($0) })
    let port = try #require(try await server.start().first?.port)
    let client = HTTPClient(
      configuration: HTTPClientConfiguration(trustRoots: .file(directory + "/ca.crt")), logger: quiet)
    let outcome: Result<Void, any Error>
    do {
      try await body(Reach(url: "https://127.0.0.1:\(port)", client: client, directory: directory))
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    client.close()
    await server.shutdown(grace: .zero)
    try outcome.get()
  }

  /// A request with the admin's token.
  func request(_ target: String, of reach: Reach, headers: HTTPFields = [:]) -> HTTPClientRequest {
    var headers = headers
    headers[.authorization] = "Bearer \(token)"
    return HTTPClientRequest(url: reach.url + target, headers: headers)
  }
}
