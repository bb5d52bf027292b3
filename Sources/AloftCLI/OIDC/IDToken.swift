import Foundation
import JSON

/// What an id token says. Nobody verifies the signature here: it comes from the issuer's token endpoint over TLS (OpenID Connect
/// Core 1.0, section 3.1.3.7, point 6), and the cloud verifies it with every call.
struct IDToken: Sendable {
  let text: String
  private let claims: JSONObject

  /// Nil where the text is no JSON Web Token.
  init?(_ text: String) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }),
      let payload = Base64URL.decode(parts[1]), let claims = try? JSONValue.parse(payload).objectValue
    else { return nil }
    (self.text, self.claims) = (text, claims)
  }

  var subject: String? { claims["sub"]?.stringValue }

  /// Nil where it does not say.
  var expiresAt: Date? { claims["exp"]?.doubleValue.map { Date(timeIntervalSince1970: $0) } }

  /// Why this is not the answer to what was asked; nil when it is. `nonce`: of this login; `subject`: who it was before.
  func fault(issuer: String, clientID: String, nonce: String? = nil, subject: String? = nil) -> String? {
    if claims["iss"]?.stringValue != issuer { return "it is of another issuer" }
    let audience = claims["aud"]
    guard audience?.stringValue == clientID || audience?.arrayValue?.contains(.string(clientID)) == true else {
      return "it is meant for another client"
    }
    if let nonce, claims["nonce"]?.stringValue != nonce { return "it is of another login" }
    if let subject, self.subject != subject { return "it is of another person" }
    return nil
  }
}

/// Text in the alphabet of RFC 4648, section 5, without padding: as JSON Web Tokens and PKCE have it.
enum Base64URL {
  static func encode(_ bytes: [UInt8]) -> String {
    Data(bytes).base64EncodedString()
      .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
  }

  static func decode(_ text: Substring) -> [UInt8]? {
    let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
    return Data(base64Encoded: text.replacing("-", with: "+").replacing("_", with: "/") + padding).map { Array($0) }
  }
}
