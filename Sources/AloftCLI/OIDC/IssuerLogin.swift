/// Where a context's token comes from when an issuer of OpenID Connect made it, and how it is renewed.
struct IssuerLogin: Sendable, Equatable {
  /// As in `iss`.
  var issuer: String
  var clientID: String
  var tokenEndpoint: String
  /// Nil: the issuer gave none, and its token cannot be renewed.
  var refreshToken: String?
  /// A file with the authorities of the issuer's certificate; nil: the system's.
  var caCert: String?
}

/// Whether a URL is one that secrets may be sent to: https, or http on this machine.
enum IssuerURL {
  static func isSafe(_ url: String, allowsLoopback: Bool = true) -> Bool {
    guard url.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "\\") }) else { return false }
    let authority = url.drop { $0 != "/" }.dropFirst(2).prefix { !"/?#".contains($0) }
    // What stands before an @ looks like the host and is not.
    guard !authority.isEmpty, !authority.contains("@") else { return false }
    return url.hasPrefix("https://") || (allowsLoopback && isLoopback(url))
  }

  static func isLoopback(_ url: String) -> Bool {
    guard url.hasPrefix("http://") else { return false }
    let authority = url.dropFirst("http://".count).prefix { !"/?#".contains($0) }
    return ["127.0.0.1", "localhost", "[::1]"].contains { authority == $0 || authority.hasPrefix($0 + ":") }
  }
}
