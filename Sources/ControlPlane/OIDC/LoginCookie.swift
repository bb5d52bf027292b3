import Crypto
import Foundation
import HTTPTypes

/// What binds a login by an issuer to the browser that began it. It lives in a cookie of that browser and nowhere else; state,
/// nonce and PKCE's verifier are derived from it.
///
/// `SameSite=Lax`, because the issuer's page sends the browser back to us.
struct LoginCookie: Sendable, Equatable {
  static let name = "__Host-aloft_login"
  /// How long somebody may take to log in at the issuer.
  static let seconds = 600

  var issuer: String
  /// In seconds since 1970.
  var begun: Int
  var secret: String

  init(issuer: String, now: Date, environment: Environment) {
    self.issuer = issuer
    begun = Int(now.timeIntervalSince1970)
    secret = environment.newSecret(words: 4)
  }

  /// What a browser sends back; nil when it is none of ours.
  init?(_ headers: HTTPFields) {
    let values = Cookies.values(of: Self.name, in: headers)
    let parts = (values.first ?? "").split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard values.count == 1, parts.count == 3, let begun = Int(parts[1]), SessionCookie.isSecret(parts[2]) else {
      return nil
    }
    (issuer, self.begun, secret) = (parts[0], begun, parts[2])
  }

  var setting: String {
    "\(Self.name)=\(issuer).\(begun).\(secret); Path=/; Max-Age=\(Self.seconds); Secure; HttpOnly; SameSite=Lax"
  }

  static let clearing = "\(name)=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"

  func isInTime(at now: Date) -> Bool {
    (0...Self.seconds).contains(Int(now.timeIntervalSince1970) - begun)
  }

  var state: String { derive("state") }
  var nonce: String { derive("nonce") }
  /// RFC 7636, section 4.1: 43 characters.
  var verifier: String { derive("verifier") }
  /// S256 of RFC 7636, section 4.2.
  var challenge: String { Base64URL.encode(SHA256.hash(data: Array(verifier.utf8))) }
  /// What is kept of a login that was finished.
  var hash: [UInt8] { Secret.hash("login:" + secret) }

  private func derive(_ what: String) -> String {
    Base64URL.encode(
      HMAC<SHA256>.authenticationCode(
        for: Array("aloft login \(what)\n\(issuer)\n\(begun)".utf8), using: SymmetricKey(data: Array(secret.utf8))))
  }
}
