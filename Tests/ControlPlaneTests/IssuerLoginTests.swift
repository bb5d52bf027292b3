import AloftModel
import Foundation
import HTTPTypes
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Login at an issuer")
struct IssuerLoginTests {
  /// A login that was begun: what the browser keeps, and what the issuer was asked.
  private struct Begun {
    var cookie: String
    var query: [String: String]
    var state: String { query["state"] ?? "" }
  }

  private static let path = "/v1/login/oidc/corp"

  private static func begin(_ test: TestPlane, _ issuer: TestIssuer) async throws -> Begun {
    let answer = await test.send(.get, path)
    try #require(answer.status == 303, "\(answer)")
    let location = try #require(answer.header("Location"))
    try #require(location.hasPrefix(issuer.url + "/authorize?"))
    let setting = try #require(answer.header("Set-Cookie"))
    for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
      #expect(setting.components(separatedBy: "; ").contains(attribute), "\(setting)")
    }
    let query = TestIssuer.form(String(location.drop { $0 != "?" }.dropFirst()))
    return Begun(cookie: String(setting.prefix { $0 != ";" }), query: query)
  }

  /// What the issuer does when the person has logged in there: it makes a code.
  private static func authorize(
    _ issuer: TestIssuer, _ begun: Begun, code: String = "code-1", _ changes: [String: JSONValue] = [:]
  ) throws {
    let nonce: JSONValue = .string(begun.query["nonce"] ?? "")
    let token = try issuer.token(issuer.claims("ada-1", ["nonce": nonce].merging(changes) { $1 }))
    issuer.state.withLock { $0.codes[code] = (begun.query["code_challenge"] ?? "", token) }
  }

  private static func finish(
    _ test: TestPlane, _ query: [String: String], cookie: String?, path: String = path + "/callback"
  ) async -> Answer {
    var parts = URLComponents()
    parts.queryItems = query.sorted { $0.key < $1.key }.map { URLQueryItem(name: $0.key, value: $0.value) }
    var headers: [String: String] = [:]
    headers["Cookie"] = cookie
    return await test.send(.get, path + "?" + (parts.percentEncodedQuery ?? ""), headers: headers)
  }

  private static func cookies(_ answer: Answer) -> [String] { answer.headers[values: .setCookie] }

  @Test("a login at the issuer ends in a session with the roles of the claims, and in the console")
  func good() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let begun = try await Self.begin(test, issuer)
      #expect(begun.query["response_type"] == "code" && begun.query["code_challenge_method"] == "S256")
      #expect(begun.query["client_id"] == TestIssuer.clientID && begun.query["scope"] == "openid profile")
      #expect(begun.query["redirect_uri"] == "https://127.0.0.1:1/v1/login/oidc/corp/callback")
      try Self.authorize(issuer, begun)
      let answer = await Self.finish(
        test, ["state": begun.state, "code": "code-1", "iss": issuer.url, "session_state": "x"], cookie: begun.cookie)
      #expect(answer.status == 303 && answer.header("Location") == "/docs", "\(answer)")
      #expect(answer.header("Referrer-Policy") == "no-referrer")
      let cookies = Self.cookies(answer)
      #expect(cookies.contains { $0.hasPrefix("__Host-aloft_login=;") })
      let session = try #require(cookies.first { $0.hasPrefix(Browser.cookieName + "=") })
      #expect(session.contains("SameSite=Strict") && session.contains("HttpOnly"))
      let headers = ["Cookie": String(session.prefix { $0 != ";" })]
      let who = await test.send(.get, "/v1/whoami", headers: headers)
      #expect(who["user"]?["name"] == "ada-lovelace" && who["projects"]?[0]?["role"] == "member", "\(who)")
      let own = await test.send(.get, "/v1/session", headers: headers)
      #expect(own["issuer"]?.stringValue == issuer.url)
      let csrf = try #require(own["csrf_token"]?.stringValue)
      let made = await test.send(
        .post, "/v1/images", bytes: Array(#"{"name":"x"}"#.utf8),
        headers: headers.merging(["X-CSRF-Token": csrf, "Content-Type": "application/json"]) { $1 })
      #expect(made.status == 201, "\(made)")
      let exchange = try #require(issuer.state.withLock { $0.exchanges }.first)
      #expect(exchange["client_id"] == TestIssuer.clientID && exchange["grant_type"] == "authorization_code")
      #expect(exchange["redirect_uri"] == begun.query["redirect_uri"])
      #expect(try await test.count("SELECT count(*) FROM project_members") == 0)
    }
  }

  @Test("with a secret the client shows it to the issuer by Basic, form-encoded")
  func secret() async throws {
    try await TestPlane.withIssuer({ $0.clientSecret = "a secret:with/+ ä" }) { test, issuer async throws in
      let begun = try await Self.begin(test, issuer)
      try Self.authorize(issuer, begun)
      let answer = await Self.finish(test, ["state": begun.state, "code": "code-1"], cookie: begun.cookie)
      #expect(answer.status == 303, "\(answer)")
      let header = try #require(issuer.state.withLock { $0.authorizations }.first ?? nil)
      let decoded = try #require(Data(base64Encoded: String(header.dropFirst("Basic ".count))))
      #expect(String(decoding: decoded, as: UTF8.self) == "aloft-tests:a%20secret%3Awith%2F%2B%20%C3%A4")
    }
  }

  @Test(
    "a login that another browser began, with another state or for another issuer is refused before the issuer is asked"
  )
  func state() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let (mine, other) = (try await Self.begin(test, issuer), try await Self.begin(test, issuer))
      try Self.authorize(issuer, mine)
      let parts = mine.cookie.split(separator: ".")
      let old = "\(parts[0]).\((Int(parts[1]) ?? 0) - 601).\(parts[2])"
      let cases: [(String, [String: String], String?)] = [
        ("no cookie", ["state": mine.state, "code": "code-1"], nil),
        ("another's cookie", ["state": mine.state, "code": "code-1"], other.cookie),
        ("another's state", ["state": other.state, "code": "code-1"], mine.cookie),
        ("no state", ["code": "code-1"], mine.cookie),
        ("empty state", ["state": "", "code": "code-1"], mine.cookie),
        ("too old", ["state": mine.state, "code": "code-1"], old),
        ("two cookies", ["state": mine.state, "code": "code-1"], mine.cookie + "; " + other.cookie),
        ("broken cookie", ["state": mine.state, "code": "code-1"], "__Host-aloft_login=x"),
        ("another issuer", ["state": mine.state, "code": "code-1", "iss": "https://evil.example"], mine.cookie),
        ("no code", ["state": mine.state], mine.cookie),
        ("refused there", ["state": mine.state, "error": "access_denied"], mine.cookie),
      ]
      for (what, query, cookie) in cases {
        let answer = await Self.finish(test, query, cookie: cookie)
        #expect(answer.status == 401 && answer.code == "login_failed", "\(what): \(answer)")
        #expect(Self.cookies(answer).isEmpty, "\(what)")
      }
      #expect(issuer.state.withLock { $0.exchanges.isEmpty })
      // Others' pages can make a browser ask for this: it does not use up the logins of its address.
      for _ in 0..<60 { _ = await Self.finish(test, ["state": "x", "code": "y"], cookie: nil) }
      #expect(test.plane.plane.logins.limits.entries == 0)
      #expect(await Self.finish(test, ["state": mine.state, "code": "code-1"], cookie: mine.cookie).status == 303)
    }
  }

  @Test("a login is finished once, also when the issuer would take the code again and two try at once")
  func replay() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let begun = try await Self.begin(test, issuer)
      try Self.authorize(issuer, begun)
      let query = ["state": begun.state, "code": "code-1"]
      let statuses = await withTaskGroup(of: Int.self) { group in
        for _ in 0..<6 { group.addTask { await Self.finish(test, query, cookie: begun.cookie).status } }
        return await group.reduce(into: []) { $0.append($1) }
      }
      #expect(statuses.count { $0 == 303 } == 1 && statuses.count { $0 == 401 } == 5, "\(statuses)")
      let exchanges = issuer.state.withLock { $0.exchanges.count }
      #expect(await Self.finish(test, query, cookie: begun.cookie).code == "login_failed")
      #expect(issuer.state.withLock { $0.exchanges.count } == exchanges, "the issuer is not asked again")
      #expect(try await test.count("SELECT count(*) FROM sessions") == 1)
    }
  }

  @Test("a code of another login, an id token for another login, client or time makes no session")
  func tokens() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let now = Int64(Date().timeIntervalSince1970)
      let cases: [[String: JSONValue]] = [
        ["nonce": "another"], ["nonce": .null], ["aud": "another"], ["exp": .integer(now - 300)],
        ["iat": .integer(now + 300)], ["azp": "another"], ["iss": "https://evil.example"],
      ]
      for changes in cases {
        let begun = try await Self.begin(test, issuer)
        try Self.authorize(issuer, begun, changes)
        let answer = await Self.finish(test, ["state": begun.state, "code": "code-1"], cookie: begun.cookie)
        #expect(answer.code == "login_failed" && Self.cookies(answer).isEmpty, "\(changes): \(answer)")
      }
      // PKCE: a stolen code is worth nothing in another browser.
      let (victim, thief) = (try await Self.begin(test, issuer), try await Self.begin(test, issuer))
      try Self.authorize(issuer, victim, code: "stolen")
      let answer = await Self.finish(test, ["state": thief.state, "code": "stolen"], cookie: thief.cookie)
      #expect(answer.code == "login_failed", "\(answer)")
      #expect(try await test.count("SELECT count(*) FROM sessions") == 0)
      #expect(try await test.count("SELECT count(*) FROM used_logins") == 0)
      try await test.plane.stepRefusals()
      #expect(
        try await test.count("SELECT count(*) FROM audit WHERE operation = 'finishIssuerLogin' AND refusal IS NOT NULL")
          == 8)
    }
  }

  @Test("nothing in a request says where the browser goes")
  func redirects() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      for name in ["return_to", "redirect_uri", "next", "url"] {
        let answer = await test.send(.get, "\(Self.path)?\(name)=https://evil.example")
        #expect(answer.code == "unknown_parameter", "\(answer)")
      }
      let answer = await test.send(
        .get, Self.path, headers: ["X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"])
      #expect(answer.header("Location")?.contains("evil") == false)
      #expect(await test.send(.get, "/v1/login/oidc/nobody").code == "not_found")
      #expect(await test.send(.get, "/v1/login/oidc")["items"]?[0]?["login_path"]?.stringValue == Self.path)
    }
  }

  @Test("the list tells the command line where to log in, and only where the operator lets it; its id tokens are taken")
  func commandLine() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let items = await test.send(.get, "/v1/login/oidc")["items"]
      #expect(items == [["name": "corp", "login_path": .string(Self.path)]])
      #expect(try await test.call(by: issuer.token(issuer.claims("ada-1", ["aud": "aloft-cli"]))).status == 401)
    }
    try await TestPlane.withIssuer {
      $0.cliClientID = "aloft-cli"
      $0.scopes = ["email", "offline_access"]
      $0.clientSecret = "never shown"
    } _: { test, issuer async throws in
      let item = await test.send(.get, "/v1/login/oidc")["items"]?[0]
      #expect(item?["issuer"]?.stringValue == issuer.url && item?["cli_client_id"] == "aloft-cli")
      #expect(item?["scopes"] == ["openid", "email", "offline_access"] && item?.objectValue?.count == 5)
      let who = try await test.call(by: issuer.token(issuer.claims("ada-1", ["aud": "aloft-cli"])))
      #expect(who.status == 200 && who["projects"]?[0]?["role"] == "member", "\(who)")
      #expect(try await test.call(by: issuer.token(issuer.claims())).status == 200, "the other audiences stay")
    }
  }

  @Test(
    "a session of an issuer ends when the operator trusts the issuer no longer, and a rule that is gone gives nothing")
  func trust() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let begun = try await Self.begin(test, issuer)
      try Self.authorize(issuer, begun, ["groups": ["root"]])
      let answer = await Self.finish(test, ["state": begun.state, "code": "code-1"], cookie: begun.cookie)
      let cookie = try #require(Self.cookies(answer).first { $0.hasPrefix(Browser.cookieName) })
      let headers = ["Cookie": String(cookie.prefix { $0 != ";" })]
      #expect(await test.send(.get, "/v1/users", headers: headers).status == 200)
      let without = try test.replica { $0.issuers = [issuer.settings { $0.rules = [] }] }
      #expect(await test.send(.get, "/v1/users", headers: headers, on: without).code == "forbidden")
      let none = try test.replica { $0.issuers = [] }
      #expect(await test.send(.get, "/v1/users", headers: headers, on: none).code == "session_invalid")
    }
  }
}
