import Execution
import Foundation
import HTTPClient
import HTTPTypes
import JSON
import Logging
import TestSupport
import Testing

@testable import AloftCLI

/// `aloft login --oidc` and what comes after it.
@Suite("Login at an issuer from the command line") struct IssuerLoginTests {
  fileprivate static let start: TimeInterval = 1_767_323_105

  /// A cloud, its issuer, and a home.
  private struct Scene {
    let (cloud, issuer, folder): (CannedServer, CannedServer, TemporaryFolder)
    var file: String { folder.path.path + "/.config/aloft/config.yaml" }

    init(scopes: [JSONValue] = ["openid", "offline_access"]) async throws {
      (cloud, issuer) = (try await CannedServer(), try await CannedServer("canned_issuer"))
      folder = try TemporaryFolder()
      try await offer([
        ["name": "web", "login_path": "/v1/login/oidc/web"],
        [
          "name": "corp", "login_path": "/v1/login/oidc/corp", "issuer": .string(issuer.url),
          "cli_client_id": "aloft-cli", "scopes": .array(scopes),
        ],
      ])
    }

    func offer(_ issuers: JSONValue) async throws {
      let outcome = await cloud.aloft(
        "api", "POST", "/__issuers", "--body", String(decoding: issuers.bytes, as: UTF8.self))
      try #require(outcome.status == .success, "\(outcome)")
    }

    func issuer(_ settings: JSONValue) async throws {
      let outcome = await issuer.aloft(
        "api", "POST", "/__settings", "--body", String(decoding: settings.bytes, as: UTF8.self))
      try #require(outcome.status == .success, "\(outcome)")
    }

    func text() throws -> String { try String(contentsOfFile: file, encoding: .utf8) }

    /// Waiting for another command takes no time, so the clock is slow: nobody gives up before the other is done.
    func aloft(_ arguments: String..., after seconds: TimeInterval = 0) async -> Outcome {
      await Outcome.of(
        arguments, environment: ["HOME": folder.path.path], tick: .nanoseconds(1), now: IssuerLoginTests.start + seconds
      )
    }

    func login(_ arguments: String..., browser: TestBrowser? = nil, tick: Duration = .milliseconds(1)) async -> Outcome
    {
      let browser = browser ?? TestBrowser()
      let outcome = await Outcome.of(
        ["login", "--oidc", "--url", cloud.url] + arguments, environment: ["HOME": folder.path.path], tick: tick,
        onError: browser.see)
      await browser.end()
      return outcome
    }

    /// What the issuer's token endpoint was sent.
    func forms() async throws -> [JSONValue] {
      try await issuer.requests().filter { $0["path"] == "/token" }.compactMap { $0["form"] }
    }

    func lastBearer() async throws -> String? {
      try await cloud.requests().last { $0["path"] == "/v1/whoami" }?["headers"]?["authorization"]?.stringValue
    }
  }

  @Test("a login keeps the issuer's token and makes no API token; nothing secret is printed")
  func good() async throws {
    let (scene, browser) = (try await Scene(scopes: ["openid", "profile"]), TestBrowser())
    let done = await scene.login(browser: browser)
    #expect(done.status == .success && done.output.isEmpty, "\(done)")
    #expect(done.errors.contains("Log in at \(scene.issuer.url) for \(scene.cloud.url)"))
    #expect(!done.errors.contains("\\u{"), "every line is printed as it is")
    #expect(done.errors.contains("logged in to \(scene.cloud.url) as ada; the context is 127.0.0.1"))
    let asked = try #require(try await scene.issuer.requests().first { $0["path"] == "/authorize" }?["query"])
    #expect(asked["client_id"] == "aloft-cli" && asked["scope"] == "openid profile" && asked["kind"] == "login")
    #expect(asked["response_type"] == "code" && asked["code_challenge_method"] == "S256")
    #expect(asked["redirect_uri"]?.stringValue?.hasPrefix("http://127.0.0.1:") == true)
    let form = try #require(try await scene.forms().first)
    let verifier = try #require(form["code_verifier"]?.stringValue)
    #expect(verifier.count == 43 && CodeRequest.challenge(verifier) == asked["code_challenge"]?.stringValue)
    #expect(Set([asked["state"], asked["nonce"], form["code_verifier"]]).count == 3)
    #expect(!done.errors.contains(verifier) && !done.errors.contains(".canned"))
    #expect(browser.answers.map(\.status) == [200])
    #expect(browser.answers.first?.text.contains("Go back to the terminal") == true)

    let paths = try await scene.cloud.requests().compactMap { $0["path"]?.stringValue }
    #expect(paths == ["/__issuers", "/v1/login/oidc", "/v1/whoami"])
    #expect(try await scene.lastBearer()?.hasSuffix(".canned") == true)
    #expect(
      try FileManager.default.attributesOfItem(atPath: scene.file)[.posixPermissions] as? Int == 0o600)
    let text = try scene.text()
    #expect(text.contains("client-id: aloft-cli") && !text.contains("refresh-token"))
    #expect(await scene.aloft("whoami", "-o", "name").status == .success)
    let listed = await scene.aloft("context", "list", "-o", "json").output
    #expect(listed.contains("\"logged_in\": true") && !listed.contains(".canned"), "\(listed)")

    let out = await scene.aloft("logout")
    #expect(out.status == .success && out.errors.contains("nothing was revoked at \(scene.issuer.url)"), "\(out)")
    let after = try scene.text()
    #expect(!after.contains("oidc") && !after.contains(".canned"))
    #expect(try await !scene.cloud.requests().contains { $0["method"] == "DELETE" })
    #expect(await scene.aloft("whoami").status == .notAuthenticated)
  }

  @Test("what does not carry this login's state is turned away, and the login goes on")
  func wrongState() async throws {
    let scene = try await Scene()
    let browser = TestBrowser { callback in
      let base = String(callback.prefix { $0 != "?" })
      return [
        "\(base)?code=evil&state=wrong", "\(base)?code=evil", "\(callback)&state=wrong",
        base.replacing("/callback", with: "/favicon.ico"), callback,
      ]
    }
    let done = await scene.login(browser: browser)
    #expect(done.status == .success, "\(done)")
    #expect(browser.answers.map(\.status) == [400, 400, 400, 404, 200])
    #expect(try await scene.forms().map { $0["code"] } == ["code+0"])
  }

  @Test("a refusal of the issuer, another's answer and an id token that is not for this login end the login")
  func refused() async throws {
    let cases: [(settings: JSONValue, words: String)] = [
      (["error": "access_denied"], "refused the login: access_denied"),
      (["iss": "https://evil.example"], "another issuer has answered: https://evil.example"),
      (["client": "other"], "answered 401 (invalid_client)"),
      (["claims": ["nonce": "other"]], "of another login"), (["claims": ["aud": "other"]], "for another client"),
      (["claims": ["iss": "https://evil.example"]], "of another issuer"),
    ]
    for (settings, words) in cases {
      let scene = try await Scene()
      try await scene.issuer(settings)
      let outcome = await scene.login()
      #expect(outcome.status == .notAuthenticated && outcome.errors.contains(words), "\(settings): \(outcome)")
      #expect(!FileManager.default.fileExists(atPath: scene.file))
    }
  }

  @Test("a document of another issuer, and addresses that secrets must not go to, are refused before anybody logs in")
  func discovery() async throws {
    for (settings, words) in [
      (["issuer": "https://evil.example"], "is about https://evil.example"),
      (["token_endpoint": "http://id.example/token"], "no token_endpoint that is an https URL"),
    ] as [(JSONValue, String)] {
      let scene = try await Scene()
      try await scene.issuer(settings)
      let outcome = await scene.login()
      #expect(outcome.status != .success && outcome.errors.contains(words), "\(outcome)")
      #expect(!outcome.errors.contains("/authorize"))
    }
    let scene = try await Scene()
    try await scene.offer([["name": "corp", "issuer": "http://id.example", "cli_client_id": "x"]])
    #expect(await scene.login().errors.contains("is no https URL"))
    #expect(IssuerURL.isSafe("https://id.example/a?b") && IssuerURL.isSafe("http://127.0.0.1:80/x"))
    for url in [
      "http://id.example", "http://127.0.0.1:80@id.example/", "https://a@b/", "https:///x", "https://a b/", "ftp://a/",
      "http://127.0.0.1.example/", "https://a\\b/", "",
    ] { #expect(!IssuerURL.isSafe(url), "\(url)") }
    #expect(!IssuerURL.isSafe("http://127.0.0.1/", allowsLoopback: false))
  }

  @Test("which issuer is meant has to be clear, and that there is none is told")
  func names() async throws {
    let scene = try await Scene()
    #expect(await scene.aloft("login", "--oidc", "web", "--url", scene.cloud.url).errors.contains("There is: corp"))
    let two: JSONValue = .array(
      ["a", "b"].map { ["name": .string($0), "issuer": .string(scene.issuer.url), "cli_client_id": "aloft-cli"] })
    try await scene.offer(two)
    let several = await scene.login()
    #expect(several.status == .usage && several.errors.contains("several issuers: a, b"), "\(several)")
    try await scene.offer([])
    #expect(await scene.login().errors.contains("cli-client-id"))
    #expect(await scene.aloft("login", "--oidc", "--user", "ada").status == .usage)
  }

  @Test("nobody is waited for longer than five minutes, and Ctrl-C ends the wait")
  func ends() async throws {
    let (scene, idle) = (try await Scene(), TestBrowser { _ in [] })
    let late = await scene.login(browser: idle, tick: .seconds(100))
    #expect(late.status == .notAuthenticated && late.errors.contains("nobody has logged in in time"), "\(late)")
    let began = TestBrowser { _ in [] }
    let running = Task { await scene.login(browser: began) }
    try await began.sawPage()
    running.cancel()
    #expect(await running.value.status == .interrupted)
  }

  @Test("a token that is about to end is renewed once, also for commands at the same time, and what is new is stored")
  func renewal() async throws {
    let scene = try await Scene()
    try await scene.issuer(["exp": .number(Self.start + 100)])
    #expect(await scene.login().status == .success)
    let first = try await scene.lastBearer()
    #expect(await scene.aloft("whoami", after: 60).status == .success)
    #expect(try await scene.forms().count == 1, "it is good for another 40 s")
    try await scene.issuer(["exp": .number(Self.start + 1000)])
    let outcomes = await withTaskGroup(of: Outcome.self) { group in
      for _ in 0..<4 { group.addTask { await scene.aloft("whoami", after: 71) } }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.allSatisfy { $0.status == .success }, "\(outcomes)")
    let forms = try await scene.forms()
    #expect(forms.count == 2 && forms[1]["grant_type"] == "refresh_token" && forms[1]["client_id"] == "aloft-cli")
    let second = try #require(try await scene.lastBearer())
    #expect(second != first)
    #expect(try scene.text().contains(second.dropFirst("Bearer ".count)))
    #expect(try FileManager.default.attributesOfItem(atPath: scene.file)[.posixPermissions] as? Int == 0o600)
    // The refresh token that came with it is the one that counts now.
    try await scene.issuer(["exp": .number(Self.start + 9000)])
    #expect(await scene.aloft("whoami", after: 2000).status == .success)
    #expect(try await scene.forms().count == 3)
  }

  @Test("what cannot be renewed says to log in again, and nothing is sent to the cloud")
  func notRenewed() async throws {
    for (settings, words) in [
      (["refuses": true], "invalid_grant"), (["claims": ["sub": "eve"]], "of another person"),
    ] as [(JSONValue, String)] {
      let scene = try await Scene()
      try await scene.issuer(["exp": .number(Self.start + 100)])
      #expect(await scene.login().status == .success)
      try await scene.issuer(settings)
      let before = try (await scene.cloud.requests().count, scene.text())
      let outcome = await scene.aloft("whoami", after: 200)
      #expect(outcome.status == .notAuthenticated && outcome.errors.contains(words), "\(outcome)")
      #expect(outcome.errors.contains("aloft login --oidc --context 127.0.0.1") && !outcome.errors.contains("refresh-"))
      #expect(try await scene.cloud.requests().count == before.0)
      #expect(try scene.text() == before.1)
    }
    let scene = try await Scene(scopes: ["openid"])
    try await scene.issuer(["exp": .number(Self.start + 100)])
    #expect(await scene.login().status == .success)
    #expect(await scene.aloft("whoami", after: 80).status == .success, "it is good still")
    let outcome = await scene.aloft("whoami", after: 101)
    #expect(outcome.status == .notAuthenticated && outcome.errors.contains("has ended"), "\(outcome)")
  }

  @Test("PKCE is as in RFC 7636, appendix B")
  func challenge() {
    #expect(
      CodeRequest.challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
  }

  @Test("what is not a GET of the callback with one state and one code gives no code")
  func callbacks() {
    let rule = CallbackRule(state: "s", issuer: "https://id.example")
    func verdict(_ line: String) -> CallbackRule.Verdict { rule.verdict(line + "\r\nHost: x\r\n\r\n") }
    #expect(verdict("GET /callback?state=s&code=a%2Bb HTTP/1.1") == .code("a+b"))
    for line in ["", "GET", "POST /callback?state=s&code=c HTTP/1.1", "GET /callback?state=s&code=c"] {
      #expect(verdict(line) == .turnedAway(.badRequest), "\(line)")
    }
    for query in ["", "?", "?code=c", "?state=s&state=s&code=c", "?state=s&code=c&code=d", "?state=s&code=%zz", "?=&="]
    {
      #expect(verdict("GET /callback\(query) HTTP/1.1") == .turnedAway(.strange), "\(query)")
    }
    for query in ["?state=s", "?state=s&code=", "?state=s&code=c&iss=x", "?state=s&code=c&error=e"] {
      guard case .refused = verdict("GET /callback\(query) HTTP/1.1") else {
        Issue.record("\(query) is not refused")
        continue
      }
    }
  }
}

/// Plays the person with a browser: visits the page that `aloft` prints, and goes where the issuer sends it.
private final class TestBrowser: Sendable {
  struct Answer: Sendable {
    var status: Int
    var text: String
  }

  private let route: @Sendable (String) -> [String]
  private let visit = Lock<Task<Void, Never>?>(nil)
  private let got = Lock([Answer]())

  /// `route`: what is visited instead of the address that the issuer sends the browser to.
  init(_ route: @escaping @Sendable (String) -> [String] = { [$0] }) { self.route = route }

  var answers: [Answer] { got.withLock { $0 } }

  /// Looks at what was printed so far.
  @Sendable func see(_ text: String) {
    guard let page = text.split(separator: "\n").first(where: { $0.contains("/authorize?") }) else { return }
    visit.withLock { visit in
      if visit == nil { visit = Task { await self.go(String(page)) } }
    }
  }

  func end() async { await visit.withLock { $0 }?.value }

  func sawPage() async throws {
    try await eventually("a page is printed", within: .seconds(60)) { visit.withLock { $0 != nil } }
  }

  private func go(_ page: String) async {
    let client = HTTPClient(logger: Logger(label: "browser") { _ in SwiftLogNoOpLogHandler() })
    defer { client.close() }
    guard let sent = try? await client.send(HTTPClientRequest(url: page), deadline: .seconds(60)),
      let callback = sent.headers[.location]
    else { return }
    for url in route(callback) {
      guard let answer = try? await client.send(HTTPClientRequest(url: url), deadline: .seconds(60)) else { return }
      got.withLock { $0.append(Answer(status: answer.status, text: String(decoding: answer.body, as: UTF8.self))) }
    }
  }
}
