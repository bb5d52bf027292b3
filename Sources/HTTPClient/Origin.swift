/// Scheme, host and port of a URL: what may be shown in logs and errors.
struct Origin: Sendable, Equatable, CustomStringConvertible {
  let scheme: String
  let authority: String

  var description: String { "\(scheme)://\(authority)" }

  /// The origin of a URL that can be sent, or what is wrong with it.
  static func parse(_ url: String) -> Result<Origin, Refusal> {
    guard url.utf8.count <= 16_384 else {
      return .failure(Refusal("the URL is longer than 16384 bytes"))
    }
    guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
      return .failure(Refusal("the URL has characters that must be percent-encoded"))
    }
    guard let separator = url.firstRange(of: "://") else {
      return .failure(Refusal("the URL is not absolute: it must start with http:// or https://"))
    }
    let scheme = url[..<separator.lowerBound].lowercased()
    guard scheme == "http" || scheme == "https" else {
      return .failure(Refusal("the URL's scheme must be http or https"))
    }
    let authority = url[separator.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    // A password in a URL ends up in logs, so there is no way to send one.
    guard !authority.contains("@") else {
      return .failure(
        Refusal("the URL must not carry a user or password; use the Authorization header"))
    }
    guard !authority.isEmpty else { return .failure(Refusal("the URL has no host")) }
    return .success(Origin(scheme: scheme, authority: String(authority)))
  }

  struct Refusal: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
  }
}
