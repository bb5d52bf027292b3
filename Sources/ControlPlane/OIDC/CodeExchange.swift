import AloftModel
import Foundation
import HTTPClient
import HTTPTypes
import JSON

/// The authorization-code flow with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636): where a browser is sent, and what its
/// code is exchanged for.
struct CodeExchange: Sendable {
  let issuer: Issuer
  /// Where the issuer sends the browser back to: ours, never taken from a request.
  let redirectURI: String

  /// Where the browser is sent.
  func authorizationURL(_ cookie: LoginCookie) async throws -> String {
    let endpoint = try await issuer.loginEndpoints().authorization
    let query = Self.form([
      ("response_type", "code"), ("client_id", issuer.settings.clientID), ("redirect_uri", redirectURI),
      ("scope", (["openid"] + issuer.settings.scopes).joined(separator: " ")), ("state", cookie.state),
      ("nonce", cookie.nonce), ("code_challenge", cookie.challenge), ("code_challenge_method", "S256"),
    ])
    return endpoint + (endpoint.contains("?") ? "&" : "?") + query
  }

  /// The id token that the code is good for.
  func idToken(for code: String, _ cookie: LoginCookie) async throws -> String {
    var fields = [
      ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirectURI),
      ("client_id", issuer.settings.clientID), ("code_verifier", cookie.verifier),
    ]
    var headers: HTTPFields = [.contentType: "application/x-www-form-urlencoded", .accept: "application/json"]
    if let secret = issuer.settings.clientSecret {
      // RFC 6749, section 2.3.1: both are form-encoded first.
      fields.removeAll { $0.0 == "client_id" }
      let pair = "\(Self.encode(issuer.settings.clientID)):\(Self.encode(secret))"
      headers[.authorization] = "Basic " + Data(pair.utf8).base64EncodedString()
    }
    let response = try await issuer.send(
      HTTPClientRequest(
        method: .post, url: try await issuer.loginEndpoints().token, headers: headers,
        body: .bytes(Array(Self.form(fields).utf8)), isIdempotent: false))
    guard response.status == 200, let answer = try? JSONValue.parse(response.body),
      let token = answer["id_token"]?.stringValue
    else {
      throw Problem(
        .loginFailed, "the issuer \(issuer.settings.name) does not accept the code of this login; begin anew")
    }
    return token
  }

  private static func form(_ fields: [(String, String)]) -> String {
    fields.map { "\($0)=\(encode($1))" }.joined(separator: "&")
  }

  /// Everything but RFC 3986's unreserved characters.
  private static func encode(_ text: String) -> String {
    text.utf8.map { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        String(UnicodeScalar(byte))
      default: (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
      }
    }.joined()
  }
}
