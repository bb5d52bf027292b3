import Foundation

/// A CA with a server certificate for 127.0.0.1, one for another host, and a client certificate; made once per process
/// with the openssl command.
struct Credentials: Sendable {
  let directory: TemporaryDirectory

  var ca: String { directory.file("ca.crt") }
  func certificate(_ name: String) -> String { directory.file("\(name).crt") }
  func key(_ name: String) -> String { directory.file("\(name).key") }

  private static let made = Task { try await make() }

  static func shared() async throws -> Credentials { try await made.value }

  private static func make() async throws -> Credentials {
    let directory = try TemporaryDirectory()
    try await makeAuthority("ca", in: directory)
    try await makeAuthority("otherca", in: directory)
    try await issue("server", subject: "server", names: "IP:127.0.0.1,DNS:localhost", in: directory)
    try await issue(
      "elsewhere", subject: "elsewhere", names: "DNS:elsewhere.example", in: directory)
    try await issue("client", subject: "node-7", names: "DNS:node-7", in: directory)
    return Credentials(directory: directory)
  }

  private static func makeAuthority(_ name: String, in directory: TemporaryDirectory) async throws {
    try await run(
      [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout",
        "\(name).key", "-out", "\(name).crt", "-subj", "/CN=\(name)", "-days", "2",
      ], in: directory.path)
  }

  private static func issue(
    _ name: String, subject: String, names: String, in directory: TemporaryDirectory
  ) async throws {
    try await run(
      [
        "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "\(name).key",
        "-out", "\(name).csr", "-subj", "/CN=\(subject)",
      ], in: directory.path)
    try "subjectAltName=\(names)\n".write(
      toFile: directory.file("\(name).ext"), atomically: true, encoding: .utf8)
    try await run(
      [
        "openssl", "x509", "-req", "-in", "\(name).csr", "-CA", "ca.crt", "-CAkey", "ca.key",
        "-CAcreateserial",
        "-out", "\(name).crt", "-days", "2", "-extfile", "\(name).ext",
      ], in: directory.path)
  }
}
