import ControlPlane
import Foundation
import HTTP
import HTTPTypes
import JSON
import Testing

/// A browser that has logged in: it sends its cookie and its token with every call.
struct Browser: Sendable {
  static let cookieName = "__Host-aloft_session"

  let test: TestPlane
  var session: String
  var cookie: String
  var csrfToken: String

  static func password(_ name: String) -> String { "a long password of \(name)" }

  /// What a login answers.
  static func login(
    _ test: TestPlane, _ user: String, password: String? = nil, headers: [String: String] = [:],
    from address: String = "127.0.0.1", on replica: ControlPlane? = nil
  ) async -> Answer {
    let body: JSONValue = ["user": .string(user), "password": .string(password ?? Self.password(user))]
    var headers = headers
    headers["Content-Type"] = "application/json"
    return await test.send(
      .post, "/v1/sessions", bytes: body.bytes, headers: headers, peer: Peer(address: address), on: replica)
  }

  init(_ test: TestPlane, loggedIn answer: Answer) throws {
    try #require(answer.status == 201, "\(answer)")
    let pair = try #require(answer.header("Set-Cookie")?.split(separator: ";").first).split(separator: "=")
    try #require(pair.count == 2 && pair[0] == Self.cookieName)
    self.test = test
    cookie = String(pair[1])
    session = try #require(answer["id"]?.stringValue)
    csrfToken = try #require(answer["csrf_token"]?.stringValue)
  }

  /// A user with a password, logged in.
  init(_ test: TestPlane, as user: String, from address: String = "127.0.0.1") async throws {
    try self.init(test, loggedIn: await Self.login(test, user, from: address))
  }

  func call(
    _ method: HTTPRequest.Method, _ target: String, _ body: JSONValue? = nil, headers: [String: String] = [:],
    csrf: Bool = true, on replica: ControlPlane? = nil
  ) async -> Answer {
    var headers = headers
    headers["Cookie"] = "theme=dark; \(Self.cookieName)=\(cookie)"
    if csrf, method != .get { headers["X-CSRF-Token"] = csrfToken }
    if body != nil { headers["Content-Type"] = "application/json" }
    return await test.send(method, target, bytes: body?.bytes ?? [], headers: headers, on: replica)
  }
}

extension TestPlane {
  /// A person with a password, by the API.
  func makePerson(_ name: String, cloudRole: String? = nil) async throws {
    var body: JSONObject = ["name": .string(name)]
    body["cloud_role"] = cloudRole.map { .string($0) }
    let made = await call(.post, "/v1/users", .object(body))
    try #require(made.status == 201, "\(made)")
    try await setPassword(of: name, Browser.password(name))
  }

  func setPassword(of name: String, _ password: String) async throws {
    let set = await call(.put, "/v1/users/\(name)/password", ["password": .string(password)])
    try #require(set.status == 204, "\(set)")
  }
}
