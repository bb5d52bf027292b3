import HTTPClient
import HTTPTypes
import JSON
import Logging

/// What is asked of an issuer. What is sent to it is secret, so no failure repeats it.
struct IssuerClient: Sendable {
  struct Endpoints: Sendable {
    var authorization: String
    var token: String
  }

  /// What a token endpoint gives.
  struct Tokens: Sendable {
    var idToken: String?
    var refreshToken: String?
  }

  static let deadline = Duration.seconds(20)
  private static let mostBytes = 256 << 10

  /// As in `iss`.
  let issuer: String
  private let client: HTTPClient

  /// Refuses an issuer that secrets must not be sent to. Close it when it is not needed any more.
  init(issuer: String, caCert: String?, logger: Logger) async throws(CommandFailure) {
    guard IssuerURL.isSafe(issuer), !issuer.contains("?"), !issuer.contains("#") else {
      throw CommandFailure(.usage, "the issuer \(issuer) is no https URL (http is for this machine only)")
    }
    self.issuer = issuer
    client = HTTPClient(
      configuration: HTTPClientConfiguration(
        trustRoots: try await ServerAddress.roots(caCert), userAgent: "aloft/\(AloftVersion.number)"),
      logger: logger)
  }

  func close() { client.close() }

  /// Reads the discovery document (OpenID Connect Discovery 1.0, section 4).
  func endpoints() async throws(CommandFailure) -> Endpoints {
    let base = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
    let response = try await send(
      HTTPClientRequest(url: base + "/.well-known/openid-configuration", headers: [.accept: "application/json"]))
    guard response.status == 200, let document = try? JSONValue.parse(response.body) else {
      throw CommandFailure(
        .serverFault, "the issuer \(issuer) answered \(response.status) without a discovery document")
    }
    // Else another issuer's document could be put in (section 4.3).
    guard document["issuer"]?.stringValue == issuer else {
      throw CommandFailure(
        .notAuthenticated,
        "the document of the issuer \(issuer) is about \(document["issuer"]?.stringValue ?? "no issuer")",
        hint: "Ask the operator of the cloud: the issuer's URL in the settings must be the one in the document.")
    }
    return Endpoints(
      authorization: try endpoint(document["authorization_endpoint"], "authorization_endpoint"),
      token: try endpoint(document["token_endpoint"], "token_endpoint"))
  }

  /// Exchanges a code or a refresh token. Throws ``CommandStatus/notAuthenticated`` where the issuer refuses.
  func tokens(for form: [(String, String)], at endpoint: String) async throws(CommandFailure) -> Tokens {
    let url = try self.endpoint(.string(endpoint), "token endpoint")
    let response = try await send(
      HTTPClientRequest(
        method: .post, url: url,
        headers: [.contentType: "application/x-www-form-urlencoded", .accept: "application/json"],
        body: .bytes(Array(CodeRequest.form(form).utf8)), isIdempotent: false))
    let answer = try? JSONValue.parse(response.body)
    guard response.status == 200 else {
      let status = CommandStatus.notAuthenticated
      let isRefusal = (400...499).contains(response.status) && response.status != 429
      let reason = answer?["error"]?.stringValue.map { " (\($0.prefix(64)))" } ?? ""
      throw CommandFailure(
        isRefusal ? status : .serverFault, "the issuer \(issuer) answered \(response.status)\(reason)")
    }
    return Tokens(idToken: answer?["id_token"]?.stringValue, refreshToken: answer?["refresh_token"]?.stringValue)
  }

  private func endpoint(_ value: JSONValue?, _ name: String) throws(CommandFailure) -> String {
    guard let url = value?.stringValue, IssuerURL.isSafe(url, allowsLoopback: IssuerURL.isLoopback(issuer)),
      !url.contains("#")
    else {
      throw CommandFailure(.serverFault, "the issuer \(issuer) has no \(name) that is an https URL")
    }
    return url
  }

  private func send(_ request: HTTPClientRequest) async throws(CommandFailure) -> HTTPClientResponse {
    do throws(HTTPClientError) {
      return try await client.send(request, deadline: Self.deadline, maxBodyBytes: Self.mostBytes)
    } catch {
      if error.kind == .cancelled { throw .interrupted }
      var hint = "Try again in a moment."
      if error.kind == .tls(.untrustedCertificate) {
        hint = "Name the file with the issuer's authority: aloft login --oidc --issuer-ca-cert FILE."
      }
      throw CommandFailure(.serverFault, "the issuer cannot be reached: \(error)", hint: hint)
    }
  }
}
