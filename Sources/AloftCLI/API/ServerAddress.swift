import HTTPClient

/// Where the server is and what proves who asks: from flags, then from the environment.
struct ServerAddress: Sendable {
  /// Without a trailing slash.
  let url: String
  let token: String
  let trustRoots: HTTPClientConfiguration.TrustRoots

  static let defaultURL = "https://127.0.0.1:8443"

  static func resolve(_ options: CommonOptions, _ surroundings: Surroundings) async throws(CommandFailure) -> Self {
    let environment = surroundings.environment.filter { !$0.value.isEmpty }
    var url = options.url ?? environment["ALOFT_URL"] ?? defaultURL
    while url.hasSuffix("/") { url.removeLast() }
    guard url.hasPrefix("https://") || url.hasPrefix("http://") else {
      throw CommandFailure(
        .usage, "'\(url)' is no address of a server", hint: "An address looks like https://aloft.example:8443.")
    }
    let token: String
    if let path = options.tokenFile {
      let bytes = try await LocalFile(path: path).read(limit: 4096, purpose: "the token")
      token = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
    } else {
      token = environment["ALOFT_TOKEN"] ?? ""
    }
    guard !token.isEmpty else {
      throw CommandFailure(
        .notAuthenticated, "no API token for \(url)",
        hint: "Put the token into ALOFT_TOKEN (export ALOFT_TOKEN=aloft_…), or its file behind --token-file.")
    }
    // A token with a line break would be two header fields.
    guard token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw CommandFailure(
        .notAuthenticated, "the API token holds characters that no token has",
        hint: "A token is one word that begins with aloft_; check ALOFT_TOKEN or the file behind --token-file.")
    }
    let authority = options.caCert ?? environment["ALOFT_CA_CERT"]
    if let authority { try await LocalFile(path: authority).check(purpose: "the server's authority") }
    return ServerAddress(url: url, token: token, trustRoots: authority.map { .file($0) } ?? .system)
  }

  /// Whether the token would cross a network in clear text.
  var sendsTokenInClear: Bool {
    guard url.hasPrefix("http://") else { return false }
    let authority = url.dropFirst("http://".count).prefix { $0 != "/" }
    return !["127.0.0.1", "localhost", "[::1]"].contains { authority == $0 || authority.hasPrefix($0 + ":") }
  }
}
