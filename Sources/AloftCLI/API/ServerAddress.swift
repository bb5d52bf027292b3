import HTTPClient

/// Where the server is and what proves who asks: from flags, then from the environment, then from the context.
///
/// A context's token goes to the context's server and nowhere else: who names another server has to bring a token for it.
struct ServerAddress: Sendable {
  /// Without a trailing slash.
  let url: String
  /// Empty: none is sent.
  let token: String
  let trustRoots: HTTPClientConfiguration.TrustRoots

  static let defaultURL = "https://127.0.0.1:8443"

  /// Also the project that the context names.
  static func resolve(
    _ options: CommonOptions, _ surroundings: Surroundings
  ) async throws(CommandFailure) -> (address: Self, project: String?) {
    let environment = surroundings.environment.filter { !$0.value.isEmpty }
    // With all that is needed in flags and environment, the file need not even be right.
    let isComplete =
      (options.url ?? environment["ALOFT_URL"]) != nil && (options.tokenFile ?? environment["ALOFT_TOKEN"]) != nil
    let known = try await isComplete && options.context == nil ? nil : KnownClouds.context(options, surroundings)
    let context = known?.context
    // A context that the command line names is a flag like others.
    let isNamed = options.context != nil
    let url = try normal(
      options.url ?? (isNamed ? context?.url : nil) ?? environment["ALOFT_URL"] ?? context?.url ?? defaultURL)
    let own = context?.url == url ? context : nil
    let token: String
    if let path = options.tokenFile {
      token = try await read(tokenFile: path)
    } else if let given = environment["ALOFT_TOKEN"], !isNamed || own?.token == nil {
      token = given
    } else if let name = known?.name, let own {
      let renewal = LoginRenewal(
        name: name, file: try ConfigFile.require(surroundings.environment), surroundings: surroundings,
        logger: Session.logger(options))
      token = try await renewal.token(of: own) ?? ""
    } else {
      token = ""
    }
    guard !token.isEmpty else {
      throw CommandFailure(
        .notAuthenticated, "no API token for \(url)",
        hint:
          "Put the token into ALOFT_TOKEN (export ALOFT_TOKEN=aloft_…), or its file behind --token-file; or: aloft login."
      )
    }
    try check(token: token)
    let authority =
      options.caCert ?? (isNamed ? own?.caCert : nil) ?? environment["ALOFT_CA_CERT"] ?? own?.caCert
    return (ServerAddress(url: url, token: token, trustRoots: try await roots(authority)), own?.project)
  }

  /// Without a trailing slash; refused when it is no address.
  static func normal(_ text: String) throws(CommandFailure) -> String {
    var url = text
    while url.hasSuffix("/") { url.removeLast() }
    guard url.hasPrefix("https://") || url.hasPrefix("http://") else {
      throw CommandFailure(
        .usage, "'\(url)' is no address of a server", hint: "An address looks like https://aloft.example:8443.")
    }
    return url
  }

  static func read(tokenFile path: String) async throws(CommandFailure) -> String {
    let bytes = try await LocalFile(path: path).read(limit: 4096, purpose: "the token")
    return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }

  /// A token with a line break would be two header fields.
  static func check(token: String) throws(CommandFailure) {
    guard token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw CommandFailure(
        .notAuthenticated, "the API token holds characters that no token has",
        hint: "A token is one word that begins with aloft_; check ALOFT_TOKEN or the file behind --token-file.")
    }
  }

  static func roots(_ authority: String?) async throws(CommandFailure) -> HTTPClientConfiguration.TrustRoots {
    guard let authority else { return .system }
    try await LocalFile(path: authority).check(purpose: "the server's authority")
    return .file(authority)
  }

  /// Whether the token would cross a network in clear text.
  var sendsTokenInClear: Bool {
    guard url.hasPrefix("http://") else { return false }
    let authority = url.dropFirst("http://".count).prefix { $0 != "/" }
    return !["127.0.0.1", "localhost", "[::1]"].contains { authority == $0 || authority.hasPrefix($0 + ":") }
  }
}
