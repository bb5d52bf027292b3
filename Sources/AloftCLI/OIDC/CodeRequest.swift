import COpenSSL

/// What one login asks an issuer for: a code, with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 8252).
struct CodeRequest: Sendable {
  let clientID: String
  let redirectURI: String
  let scopes: [String]
  /// Binds the answer to this login.
  let state: String
  /// Binds the id token to it.
  let nonce: String
  /// Never leaves this machine before the code is exchanged.
  let verifier: String

  init(clientID: String, redirectURI: String, scopes: [String], random: (Int) -> [UInt8]) {
    (self.clientID, self.redirectURI, self.scopes) = (clientID, redirectURI, scopes)
    (state, nonce, verifier) = (
      Base64URL.encode(random(32)), Base64URL.encode(random(32)), Base64URL.encode(random(32))
    )
  }

  /// Where the browser goes. It holds nothing that is secret.
  func url(at endpoint: String) -> String {
    let query = Self.form([
      ("response_type", "code"), ("client_id", clientID), ("redirect_uri", redirectURI),
      ("scope", scopes.joined(separator: " ")), ("state", state), ("nonce", nonce),
      ("code_challenge", Self.challenge(verifier)), ("code_challenge_method", "S256"),
    ])
    return endpoint + (endpoint.contains("?") ? "&" : "?") + query
  }

  /// What the code is exchanged with.
  func exchange(_ code: String) -> [(String, String)] {
    [
      ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirectURI), ("client_id", clientID),
      ("code_verifier", verifier),
    ]
  }

  /// RFC 7636, section 4.2, method S256.
  static func challenge(_ verifier: String) -> String {
    let bytes = Array(verifier.utf8)
    var hash = [UInt8](repeating: 0, count: 32)
    EVP_Digest(bytes, bytes.count, &hash, nil, EVP_sha256(), nil)
    return Base64URL.encode(hash)
  }

  static func form(_ fields: [(String, String)]) -> String {
    fields.map { "\($0)=\(encode($1))" }.joined(separator: "&")
  }

  /// Everything but RFC 3986's unreserved characters.
  private static func encode(_ text: String) -> String {
    let unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~".utf8
    return text.utf8.map { byte in
      if unreserved.contains(byte) { return String(UnicodeScalar(byte)) }
      return (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
    }.joined()
  }
}
