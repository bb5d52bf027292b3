import Crypto
import CryptoExtras
import Execution
import Foundation
import HTTP
import HTTPTypes
import JSON
import Testing

@testable import ControlPlane

/// A small issuer of OpenID Connect on loopback: discovery, keys, and a token endpoint that insists on PKCE.
final class TestIssuer: Sendable {
  enum Key: Sendable {
    case p256(P256.Signing.PrivateKey)
    case rsa(_RSA.Signing.PrivateKey)
  }

  struct State: Sendable {
    var keys: [String: Key] = [:]
    var keyReads = 0
    /// What the token endpoint gives for a code, and the challenge that the code was asked for with.
    var codes: [String: (challenge: String, idToken: String)] = [:]
    var exchanges: [[String: String]] = []
    var authorizations: [String?] = []
    var isBroken = false
    /// What discovery says `issuer` is; nil: the truth.
    var otherIssuer: String?
  }

  static let clientID = "aloft-tests"
  let url: String
  let state: Lock<State>
  private let server: Server

  private init(url: String, state: Lock<State>, server: Server) {
    (self.url, self.state, self.server) = (url, state, server)
  }

  /// Runs `body` with an issuer that has one key, `k1`.
  static func with(tls: TLSConfiguration? = nil, _ body: (TestIssuer) async throws -> Void) async throws {
    let state = Lock(State(keys: ["k1": .p256(P256.Signing.PrivateKey())]))
    let address = Lock("")
    let server = Server(
      configuration: ServerConfiguration(listeners: [.ip(host: "127.0.0.1", port: 0, tls: tls)]), logger: quiet
    ) { await respond($0, state, url: address.withLock { $0 }) }
    let port = try #require(try await server.start().first?.port)
    let issuer = TestIssuer(url: "\(tls == nil ? "http" : "https")://127.0.0.1:\(port)", state: state, server: server)
    address.withLock { $0 = issuer.url }
    let outcome: Result<Void, any Error>
    do {
      try await body(issuer)
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    await server.shutdown(grace: .zero)
    try outcome.get()
  }

  private static func respond(_ request: Request, _ state: Lock<State>, url: String) async -> HTTP.Response {
    func json(_ value: JSONValue, _ status: HTTPResponse.Status = .ok) -> HTTP.Response {
      HTTP.Response(status: status, contentType: "application/json", body: value.bytes)
    }
    if state.withLock({ $0.isBroken }) { return json([:], .internalServerError) }
    switch request.path {
    case "/.well-known/openid-configuration":
      let issuer = state.withLock { $0.otherIssuer } ?? url
      return json([
        "issuer": .string(issuer), "jwks_uri": .string(url + "/keys"),
        "authorization_endpoint": .string(url + "/authorize"), "token_endpoint": .string(url + "/token"),
      ])
    case "/keys":
      return json(
        state.withLock { state in
          state.keyReads += 1
          return ["keys": .array(state.keys.map { publicKey($0.value, $0.key) })]
        })
    case "/token":
      guard let body = try? await request.body.collect(upTo: 1 << 16, within: .seconds(5)) else { return json([:]) }
      let fields = form(String(decoding: body, as: UTF8.self))
      let challenge = Base64URL.encode(SHA256.hash(data: Array((fields["code_verifier"] ?? "").utf8)))
      let token = state.withLock { state -> String? in
        state.exchanges.append(fields)
        state.authorizations.append(request.headers[.authorization])
        guard let code = state.codes[fields["code"] ?? ""], code.challenge == challenge else { return nil }
        return code.idToken
      }
      guard let token else { return json(["error": "invalid_grant"], .badRequest) }
      return json(["access_token": "x", "token_type": "Bearer", "id_token": .string(token)])
    default: return json([:], .notFound)
    }
  }

  private static func publicKey(_ key: Key, _ id: String) -> JSONValue {
    switch key {
    case .p256(let key):
      let point = key.publicKey.x963Representation.dropFirst()
      return [
        "kty": "EC", "crv": "P-256", "use": "sig", "kid": .string(id),
        "x": .string(Base64URL.encode(point.prefix(32))), "y": .string(Base64URL.encode(point.suffix(32))),
      ]
    case .rsa(let key):
      guard let parts = try? key.publicKey.getKeyPrimitives() else { return .null }
      return [
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": .string(id),
        "n": .string(Base64URL.encode(parts.modulus)), "e": .string(Base64URL.encode(parts.publicExponent)),
      ]
    }
  }

  static func form(_ text: String) -> [String: String] {
    var parts = URLComponents()
    parts.percentEncodedQuery = text
    return Dictionary(parts.queryItems?.map { ($0.name, $0.value ?? "") } ?? [], uniquingKeysWith: { $1 })
  }

  /// How often the keys were read.
  var keyReads: Int { state.withLock { $0.keyReads } }

  /// The settings of a cloud that trusts this issuer.
  func settings(_ change: (inout IssuerSettings) -> Void = { _ in }) -> IssuerSettings {
    var settings = IssuerSettings(name: "corp", url: url, clientID: Self.clientID)
    settings.rules = [
      ClaimRule(value: "ops", grant: .cloud(.operator)), ClaimRule(value: "root", grant: .cloud(.admin)),
      ClaimRule(value: "web", grant: .project("default", .member)),
      ClaimRule(value: "web-lead", grant: .project("default", .admin)),
    ]
    change(&settings)
    return settings
  }

  /// Claims of a good token for `subject`; `changes` replace some, null takes one away.
  func claims(_ subject: String = "ada-1", _ changes: [String: JSONValue] = [:]) -> JSONObject {
    let now = Int64(Date().timeIntervalSince1970)
    var claims: JSONObject = [
      "iss": .string(url), "sub": .string(subject), "aud": .string(Self.clientID), "iat": .integer(now),
      "exp": .integer(now + 300), "preferred_username": "Ada.Lovelace@example.org", "groups": ["web", "unknown"],
    ]
    for (name, value) in changes { claims[name] = value == .null ? nil : value }
    return claims
  }

  /// A token, signed by the key `keyID`.
  func token(
    _ claims: JSONObject, keyID: String = "k1", algorithm: String? = nil, header: [String: JSONValue] = [:]
  ) throws -> String {
    let key = try #require(state.withLock { $0.keys[keyID] })
    return try Self.token(claims, by: key, keyID: keyID, algorithm: algorithm, header: header)
  }

  static func token(
    _ claims: JSONObject, by key: Key, keyID: String?, algorithm: String? = nil, header more: [String: JSONValue] = [:]
  ) throws -> String {
    let natural = if case .rsa = key { "RS256" } else { "ES256" }
    var header: JSONObject = ["alg": .string(algorithm ?? natural), "typ": "JWT"]
    header["kid"] = keyID.map { .string($0) }
    for (name, value) in more { header[name] = value }
    let signed = unsigned(header, claims)
    let bytes = Array(signed.utf8)
    switch key {
    case .p256(let key): return signed + "." + Base64URL.encode(try key.signature(for: bytes).rawRepresentation)
    case .rsa(let key):
      let signature = try key.signature(for: SHA256.hash(data: bytes), padding: .insecurePKCS1v1_5)
      return signed + "." + Base64URL.encode(signature.rawRepresentation)
    }
  }

  static func unsigned(_ header: JSONObject, _ claims: JSONObject) -> String {
    Base64URL.encode(JSONValue.object(header).bytes) + "." + Base64URL.encode(JSONValue.object(claims).bytes)
  }
}

extension TestPlane {
  /// Runs `body` with a cloud that trusts a new issuer.
  static func withIssuer(
    _ change: @escaping (inout IssuerSettings) -> Void = { _ in },
    _ body: (TestPlane, TestIssuer) async throws -> Void
  ) async throws {
    try await TestIssuer.with { issuer in
      try await TestPlane.with(configure: { $0.issuers = [issuer.settings(change)] }) { test async throws in
        try await body(test, issuer)
      }
    }
  }

  /// Calls with a bearer token of an issuer.
  func call(by token: String, _ method: HTTPRequest.Method = .get, _ target: String = "/v1/whoami") async -> Answer {
    await send(method, target, headers: Self.bearer(token))
  }
}
