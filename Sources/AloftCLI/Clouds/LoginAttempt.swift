import HTTPClient
import HTTPTypes
import JSON
import Logging

/// The calls of a login: a session that lasts for as long as it takes to make a token.
struct LoginAttempt: Sendable {
  private static let cookie = "__Host-aloft_session"

  let url: String
  let trustRoots: HTTPClientConfiguration.TrustRoots
  let surroundings: Surroundings
  let logger: Logger

  /// Sends no token.
  var anonymous: API { api("") }

  private func api(_ token: String) -> API {
    API(
      address: ServerAddress(url: url, token: token, trustRoots: trustRoots), surroundings: surroundings,
      logger: logger)
  }

  /// The secret of a new API token.
  func makeToken(user: String, password: String, seconds: Int) async throws(CommandFailure) -> String {
    let api = anonymous
    defer { api.client.close() }
    let answer = try await api.send(
      APICall(
        .post, APIPath.path("sessions"), body: ["user": .string(user), "password": .string(password)]))
    let setting = answer.headers[.setCookie] ?? ""
    guard setting.hasPrefix(Self.cookie + "="), let csrf = answer.json["csrf_token"]?.stringValue else {
      throw CommandFailure(.serverFault, "\(url) has not answered the login like Aloft")
    }
    var headers: HTTPFields = [.cookie: String(setting.prefix { $0 != ";" })]
    if let name = HTTPField.Name("X-CSRF-Token") { headers[name] = csrf }
    var create = APICall(
      .post, APIPath.path("tokens"),
      body: ["description": .string("aloft on \(surroundings.hostName)"), "ttl_seconds": .integer(Int64(seconds))],
      key: surroundings.randomKey())
    create.headers = headers
    var end = APICall(.delete, APIPath.path("session"))
    end.headers = headers
    let made: APIAnswer
    do throws(CommandFailure) { made = try await api.send(create) } catch {
      _ = try? await api.send(end)
      throw error
    }
    // The session ends by itself too.
    _ = try? await api.send(end)
    guard let secret = made.json["secret"]?.stringValue else {
      throw CommandFailure(.serverFault, "\(url) has made a token without a secret")
    }
    return secret
  }

  /// For whom a token acts.
  func whoami(_ token: String) async throws(CommandFailure) -> JSONValue {
    let api = api(token)
    defer { api.client.close() }
    return try await api.send(APICall(.get, APIPath.path("whoami"))).json
  }

  /// Revokes a context's token if that can be done.
  func revoke(_ context: CloudContext) async { try? await requireRevoked(context) }

  /// Revokes a context's token; one that is good for nothing any more is as good as revoked.
  func requireRevoked(_ context: CloudContext) async throws(CommandFailure) {
    guard let token = context.token, let id = context.tokenID else { return }
    let api = api(token)
    defer { api.client.close() }
    let call = APICall(.delete, APIPath.path("tokens", id))
    let response = try await api.raw(call)
    if response.status == 401 || response.status == 404 { return }
    _ = try api.accept(response, call)
  }
}
