import Crypto
import Foundation

/// The cookie that a session's secret travels in, and the token that goes beside it.
///
/// `__Host-` makes browsers refuse the cookie unless it came over TLS from this very host and for all of it (RFC 6265bis,
/// section 4.1.3), so no neighbour in the same domain can plant one.
enum SessionCookie {
  static let name = "__Host-aloft_session"
  private static let words = 4

  static func makeSecret(_ environment: Environment) -> String { environment.newSecret(words: words) }

  /// Whether it can be one of ours.
  static func isSecret(_ text: String) -> Bool {
    text.utf8.count == words * 16
      && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  }

  /// The `Set-Cookie` header that hands the secret to the browser.
  static func setting(_ secret: String, seconds: Int) -> String {
    "\(name)=\(secret); Path=/; Max-Age=\(seconds); Secure; HttpOnly; SameSite=Strict"
  }

  /// The one that takes it away.
  static let clearing = "\(name)=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict"

  /// What belongs to this session alone and can be computed from its secret only.
  static func csrfToken(_ secret: String) -> String {
    let code = HMAC<SHA256>.authenticationCode(
      for: Array("aloft csrf".utf8), using: SymmetricKey(data: Array(secret.utf8)))
    return code.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}
