import Foundation
import HTTPTypes
import Testing

@testable import HTTPClient

@Suite("HTTPClient: TLS")
struct TLSTests {
  private func server(_ certificate: String, _ credentials: Credentials, mutual: Bool = false)
    async throws -> TestServer
  {
    try await TestServer.start(
      [
        "--certificate", credentials.certificate(certificate), "--key",
        credentials.key(certificate),
      ]
        + (mutual ? ["--client-ca", credentials.ca] : []))
  }

  private func failure(_ configuration: HTTPClientConfiguration, _ server: TestServer) async
    -> HTTPClientError.Kind?
  {
    await kind {
      _ = try await makeClient(configuration).send(
        HTTPClientRequest(url: server.https + "/cert"), deadline: .seconds(20))
    }
  }

  @Test("a certificate of the configured CA is accepted, from a file and from PEM text")
  func customAuthority() async throws {
    let credentials = try await Credentials.shared()
    let server = try await server("server", credentials)
    let pem = try String(contentsOfFile: credentials.ca, encoding: .utf8)
    for roots in [HTTPClientConfiguration.TrustRoots.file(credentials.ca), .pem(pem)] {
      let client = makeClient(HTTPClientConfiguration(trustRoots: roots))
      let response = try await client.send(
        HTTPClientRequest(url: server.https + "/cert"), deadline: .seconds(20))
      #expect(try response.object["version"] as? String == "TLSv1.3")
    }
  }

  @Test("a certificate of an unknown CA, or for another host, is refused with its own kind")
  func refused() async throws {
    let credentials = try await Credentials.shared()
    let right = try await server("server", credentials)
    #expect(await failure(HTTPClientConfiguration(), right) == .tls(.untrustedCertificate))
    let other = HTTPClientConfiguration(trustRoots: .file(credentials.certificate("otherca")))
    #expect(await failure(other, right) == .tls(.untrustedCertificate))
    let elsewhere = try await server("elsewhere", credentials)
    let trusting = HTTPClientConfiguration(trustRoots: .file(credentials.ca))
    #expect(await failure(trusting, elsewhere) == .tls(.hostMismatch))
  }

  @Test(
    "a server that asks for a client certificate sees its name; without one, or with a missing file, the kind says so"
  )
  func mutual() async throws {
    let credentials = try await Credentials.shared()
    let server = try await server("server", credentials, mutual: true)
    var configuration = HTTPClientConfiguration(
      trustRoots: .file(credentials.ca),
      clientCertificate: .init(
        certificateFile: credentials.certificate("client"), keyFile: credentials.key("client")))
    let response = try await makeClient(configuration).send(
      HTTPClientRequest(url: server.https + "/cert"), deadline: .seconds(20))
    #expect(try response.object["name"] as? String == "node-7")

    configuration.clientCertificate = nil
    #expect(await failure(configuration, server) == .tls(.clientCertificateRefused))
    configuration.clientCertificate = .init(
      certificateFile: credentials.certificate("otherca"), keyFile: credentials.key("otherca"))
    #expect(await failure(configuration, server) == .tls(.clientCertificateRefused))
    configuration.clientCertificate = .init(
      certificateFile: "/no/such.crt", keyFile: "/no/such.key")
    #expect(await failure(configuration, server) == .tls(.localCredentials))
  }

  @Test("TLS to a plain server is a handshake error")
  func plainServer() async throws {
    let server = try await TestServer.shared()
    #expect(await failure(HTTPClientConfiguration(), server) == .tls(.handshake))
  }
}
