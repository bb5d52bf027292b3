import IPAddressing
import CCurl

/// What of a URL can be judged before anything is resolved, for URLs that are given by somebody who is not trusted.
public enum OutgoingURL {
  /// What is wrong with a URL: a closed list.
  public enum Refusal: Sendable, Equatable {
    /// No absolute http or https URL, or one with a user, a password or port 0.
    case malformed(String)
    /// http, where only https is allowed.
    case notEncrypted
    /// Its host is an address that is refused.
    case address(OutgoingRule.Refusal)
  }

  /// Judges a URL by the parser of the client that would send it. A name is judged when it is connected to.
  public static func refusal(of url: String, rule: OutgoingRule, allowsHTTP: Bool) -> Refusal? {
    if case .failure(let refusal) = Origin.parse(url) { return .malformed(refusal.reason) }
    guard let parsed = curl_url() else { return .malformed("the URL cannot be read") }
    defer { curl_url_cleanup(parsed) }
    guard curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK, let scheme = part(CURLUPART_SCHEME, of: parsed),
      let host = part(CURLUPART_HOST, of: parsed)
    else { return .malformed("the URL cannot be read") }
    if part(CURLUPART_USER, of: parsed) != nil || part(CURLUPART_PASSWORD, of: parsed) != nil {
      return .malformed("the URL must not carry a user or password")
    }
    if part(CURLUPART_FRAGMENT, of: parsed) != nil { return .malformed("the URL must not have a fragment") }
    if part(CURLUPART_PORT, of: parsed) == "0" { return .malformed("there is no port 0") }
    if scheme == "http", !allowsHTTP { return .notEncrypted }
    let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
    return IPAddress(bare).flatMap { rule.refusal(of: $0) }.map { .address($0) }
  }

  private static func part(_ part: CURLUPart, of url: OpaquePointer) -> String? {
    var text: UnsafeMutablePointer<CChar>?
    guard curl_url_get(url, part, &text, 0) == CURLUE_OK, let text else { return nil }
    defer { curl_free(text) }
    return String(cString: text)
  }
}
