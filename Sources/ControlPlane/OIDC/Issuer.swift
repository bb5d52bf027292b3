import AloftModel
import Foundation
import HTTPClient
import HTTPTypes
import JSON
import JWTKit
import Logging

/// One issuer: its documents, as they are read over the network and kept for a while.
///
/// One read is under way at a time; who needs its outcome waits for it.
actor Issuer {
  /// Where logins go (OpenID Connect Discovery 1.0, section 3).
  struct Endpoints: Sendable {
    var authorization: IssuerURL?
    var token: IssuerURL?
  }

  private static let deadline = Duration.seconds(5)
  private static let mostBytes = 256 << 10

  nonisolated let settings: IssuerSettings
  private let environment: Environment
  private let logger: Logger
  private let client: HTTPClient
  private var cache = KeyCache()
  private var keys: KeySet?
  private var endpoints = Endpoints()
  private var reading: Task<Void, Never>?

  init(_ settings: IssuerSettings, environment: Environment, logger: Logger) {
    self.settings = settings
    self.environment = environment
    self.logger = logger
    client = HTTPClient(
      configuration: HTTPClientConfiguration(
        trustRoots: settings.caFile.map { .file($0) } ?? .system, connectTimeout: Self.deadline,
        maxConnectionsPerHost: 4),
      logger: logger)
  }

  /// Checks a token's signature. Throws the ``Problem`` that says why it does not hold.
  func verifySignature(of token: JSONWebToken) async throws {
    guard let algorithm = SigningAlgorithm(rawValue: token.algorithm), settings.algorithms.contains(algorithm) else {
      let allowed = settings.algorithms.map(\.rawValue).joined(separator: ", ")
      throw ClaimRequirements.invalid(
        "it is signed by \(token.algorithm.prefix(20)), and this issuer signs by \(allowed)")
    }
    try await refresh { $0.key(token.keyID, algorithm) != nil }
    guard let key = keys?.key(token.keyID, algorithm) else {
      throw ClaimRequirements.invalid("its issuer has no key \(token.keyID?.prefix(64) ?? "for it")")
    }
    guard (try? key.verify(token.signature, signs: token.signedBytes)) == true else {
      throw ClaimRequirements.invalid("its signature does not hold")
    }
  }

  /// Where the issuer wants logins.
  func loginEndpoints() async throws -> (authorization: String, token: String) {
    try await refresh { _ in true }
    guard let authorization = endpoints.authorization, let token = endpoints.token else {
      throw Problem(.unavailable, "the issuer \(settings.name) does not say where to log in")
    }
    return (authorization.text, token.text)
  }

  /// Sends a request to the issuer.
  func send(_ request: HTTPClientRequest) async throws -> HTTPClientResponse {
    do throws(HTTPClientError) {
      return try await client.send(request, deadline: Self.deadline, maxBodyBytes: Self.mostBytes)
    } catch {
      logger.warning("an issuer did not answer", metadata: ["issuer": "\(settings.name)", "error": "\(error)"])
      throw Problem(.unavailable, "the issuer \(settings.name) cannot be reached now; try again")
    }
  }

  /// Makes sure that there are keys to go by, and reads them anew where ``KeyCache`` says so.
  private func refresh(_ isKnown: @Sendable (KeySet) -> Bool) async throws {
    if let reading, keys.map(isKnown) != true { await reading.value }
    let step = cache.step(isKnown: keys.map(isKnown) ?? false, at: environment.uptime())
    guard step != .use else { return }
    if reading == nil, step == .read {
      cache.tried(at: environment.uptime())
      reading = Task { await self.read() }
    }
    if let reading {
      await reading.value
      if cache.isUsable(at: environment.uptime()) { return }
    }
    throw Problem(.unavailable, "the keys of the issuer \(settings.name) cannot be read now; try again in some seconds")
  }

  private func read() async {
    do {
      let base = settings.url.hasSuffix("/") ? String(settings.url.dropLast()) : settings.url
      let discovery = try await document(at: base + "/.well-known/openid-configuration")
      // Else another issuer's document could be put in (OpenID Connect Discovery 1.0, section 4.3).
      guard discovery["issuer"]?.stringValue == settings.url else {
        throw Problem(
          .unavailable, "its document is about the issuer \(discovery["issuer"]?.description ?? "of nothing")")
      }
      guard let address = url(discovery["jwks_uri"]) else {
        throw Problem(.unavailable, "its document has no jwks_uri")
      }
      let document = try await document(at: address.text)
      guard document["keys"]?.arrayValue != nil else { throw Problem(.unavailable, "its key set has no keys") }
      let set = await KeySet(document, allowing: settings.algorithms)
      // An issuer that takes all its keys away means it.
      if set.count == 0 {
        logger.warning("an issuer has no key that can be used", metadata: ["issuer": "\(settings.name)"])
      }
      keys = set
      endpoints = Endpoints(
        authorization: url(discovery["authorization_endpoint"]), token: url(discovery["token_endpoint"]))
      cache.wasRead(at: environment.uptime())
    } catch {
      let detail = (error as? Problem)?.detail ?? "\(error)"
      logger.warning("an issuer's keys were not read", metadata: ["issuer": "\(settings.name)", "error": "\(detail)"])
    }
    reading = nil
  }

  /// Nil where secrets must not be sent.
  private func url(_ value: JSONValue?) -> IssuerURL? {
    guard let url = value?.stringValue.flatMap({ IssuerURL($0) }) else { return nil }
    return url.text.hasPrefix("https:") || IssuerURL(settings.url)?.isLoopback == true ? url : nil
  }

  private func document(at url: String) async throws -> JSONValue {
    let response = try await send(HTTPClientRequest(url: url, headers: [.accept: "application/json"]))
    guard response.status == 200 else { throw Problem(.unavailable, "it answered \(response.status)") }
    return try JSONValue.parse(response.body)
  }
}
