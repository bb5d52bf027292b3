import Foundation
import JSON
import Testing

@testable import AloftCLI

/// `aloft login`, `aloft logout` and `aloft context`.
@Suite struct LoginTests {
  /// A home of its own, and what is in its file.
  private struct Home {
    let folder: TemporaryFolder
    var environment: [String: String] { ["HOME": folder.path.path] }
    var file: String { folder.path.path + "/.config/aloft/config.yaml" }

    init() throws { folder = try TemporaryFolder() }

    func text() throws -> String { try String(contentsOfFile: file, encoding: .utf8) }

    func mode(_ path: String) throws -> Int {
      try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int ?? -1
    }

    func aloft(_ arguments: String..., more: [String: String] = [:], typed: [String: String] = [:]) async -> Outcome {
      await Outcome.of(arguments, environment: environment.merging(more) { $1 }, typed: typed)
    }
  }

  private static let typed = ["User: ": "ada", "Password: ": "the right password"]

  @Test("a login makes a token for this machine, ends its session, and later commands need nothing more")
  func login() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    let done = await home.aloft("login", "--url", server.url + "/", typed: Self.typed)
    #expect(done.status == .success && done.output.isEmpty, "\(done)")
    #expect(done.errors.contains("logged in to \(server.url) as ada; the context is 127.0.0.1"))
    let requests = try await server.requests().compactMap { request -> String? in
      guard let method = request["method"]?.stringValue, let path = request["path"]?.stringValue else { return nil }
      return "\(method) \(path)"
    }
    #expect(requests.prefix(4) == ["POST /v1/sessions", "POST /v1/tokens", "DELETE /v1/session", "GET /v1/whoami"])
    let made = try await server.requests()[1]
    #expect(made["body"] == ["description": "aloft on desk", "ttl_seconds": 7_776_000])
    #expect(made["headers"]?["authorization"] == nil && made["headers"]?["idempotency-key"] != nil)
    #expect(try home.mode(home.file) == 0o600)
    #expect(try home.mode(home.folder.path.path + "/.config/aloft") == 0o700)
    #expect(try home.text().contains("token: aloft_s") && !home.text().contains("right password"))
    #expect(await home.aloft("whoami", "-o", "name").output == "tok_1\n")
    #expect(await home.aloft("whoami", more: ["ALOFT_TOKEN": "bad"]).status == .notAuthenticated)
  }

  @Test("a wrong password, and nobody to ask, leave everything as it was")
  func refused() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    let wrong = await home.aloft(
      "login", "--url", server.url, "--user", "ada", typed: ["Password: ": "another password"])
    #expect(wrong.status == .notAuthenticated && wrong.errors.contains("no such user with this password"))
    let nobody = await home.aloft("login", "--url", server.url, "--user", "ada")
    #expect(nobody.status == .usage && nobody.errors.contains("--password-file"))
    let clear = await home.aloft("login", "--url", "http://aloft.example", typed: Self.typed)
    #expect(clear.status == .usage && clear.errors.contains("clear text"))
    #expect(!FileManager.default.fileExists(atPath: home.file))
  }

  @Test("the password can come from a file, and a token that one has is checked before it is kept")
  func others() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    let file = try home.folder.file("password", "the right password\n")
    let done = await home.aloft("login", "--url", server.url, "--user", "ada", "--password-file", file)
    #expect(done.status == .success, "\(done)")
    let bad = await home.aloft(
      "login", "--url", server.url, "--token", "--context", "second", typed: ["Token: ": "bad"])
    #expect(bad.status == .notAuthenticated, "\(bad)")
    let good = await home.aloft(
      "login", "--url", server.url, "--token", "--context", "second", typed: ["Token: ": "good"])
    #expect(good.status == .success, "\(good)")
    #expect(try home.text().contains("current: second"))
    let listed = try JSONValue.parse(await home.aloft("context", "list", "-o", "json").output)
    #expect(listed.arrayValue?.compactMap { $0["name"]?.stringValue } == ["127.0.0.1", "second"])
    #expect(listed[1]?["current"] == true && listed[1]?["user"] == "ada" && listed[1]?["logged_in"] == true)
    #expect(await !home.aloft("context", "list", "-o", "yaml").output.contains("aloft_s"))
  }

  @Test("a new login in the same context revokes the token before it")
  func again() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    _ = await home.aloft("login", "--url", server.url, "--token", typed: ["Token: ": "good"])
    #expect(await home.aloft("login", typed: Self.typed).status == .success)
    let last = try #require(try await server.requests().last { $0["method"] == "DELETE" })
    #expect(last["path"] == "/v1/tokens/tok_1" && last["headers"]?["authorization"] == "Bearer good")
  }

  @Test("logging out revokes the token and forgets it; the cloud stays known")
  func logout() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    _ = await home.aloft("login", "--url", server.url, typed: Self.typed)
    let out = await home.aloft("logout")
    #expect(out.status == .success && out.errors.contains("logged out of \(server.url)"), "\(out)")
    let last = try #require(try await server.requests().last { $0["method"] == "DELETE" })
    #expect(last["path"] == "/v1/tokens/tok_1" && last["headers"]?["authorization"] == "Bearer aloft_s")
    #expect(try !home.text().contains("aloft_s") && home.text().contains(server.url))
    let after = await home.aloft("whoami")
    #expect(after.status == .notAuthenticated && after.errors.contains("aloft login"))
    #expect(await home.aloft("logout").status == .usage)
  }

  @Test("flags win over the environment, and that over the context; a context's token goes to its own server only")
  func precedence() async throws {
    let (one, two, home) = (try await CannedServer(), try await CannedServer(), try Home())
    _ = await home.aloft("login", "--url", one.url, "--context", "one", typed: Self.typed)
    _ = await home.aloft("login", "--url", two.url, "--context", "two", typed: Self.typed)
    func asked(_ server: CannedServer) async throws -> Int {
      try await server.requests().count { $0["path"] == "/v1/vms" }
    }
    #expect(await home.aloft("vm", "list").status == .success)
    #expect(await home.aloft("vm", "list", "--context", "one").status == .success)
    #expect(await home.aloft("vm", "list", more: ["ALOFT_CONTEXT": "one"]).status == .success)
    #expect(
      await home.aloft("vm", "list", "--context", "one", more: ["ALOFT_URL": two.url, "ALOFT_TOKEN": "bad"]).status
        == .success)
    #expect(await home.aloft("context", "use", "one").status == .success)
    #expect(await home.aloft("vm", "list").status == .success)
    #expect(try await asked(one) == 4 * 2, "two pages each")
    #expect(try await asked(two) == 2)
    // A server that the context does not know gets no token of it.
    let third = try await CannedServer()
    for stranger in [
      await home.aloft("vm", "list", "--url", third.url),
      await home.aloft("vm", "list", more: ["ALOFT_URL": third.url]),
    ] {
      #expect(stranger.status == .notAuthenticated && stranger.errors.contains("no API token for \(third.url)"))
    }
    #expect(try await asked(third) == 0)
    let unknown = await home.aloft("vm", "list", "--context", "three")
    #expect(unknown.status == .usage && unknown.errors.contains("There are one, two"))
    #expect(await home.aloft("context", "remove", "one").status == .success)
    #expect(await home.aloft("vm", "list").status == .notAuthenticated)
  }

  @Test("a context's project is meant where none is named")
  func project() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    _ = await home.aloft("login", "--url", server.url, typed: Self.typed)
    let text = try home.text().replacing("    user: ada", with: "    user: ada\n    project: shop")
    try text.write(toFile: home.file, atomically: false, encoding: .utf8)
    _ = await home.aloft("vm", "list")
    #expect(try await server.requests().last { $0["path"] == "/v1/vms" }?["query"]?["project"] == "shop")
    _ = await home.aloft("vm", "list", more: ["ALOFT_PROJECT": "other"])
    #expect(try await server.requests().last { $0["path"] == "/v1/vms" }?["query"]?["project"] == "other")
    // It outlives the next login.
    _ = await home.aloft("login", typed: Self.typed)
    #expect(try home.text().contains("project: shop"))
  }

  @Test("a file that others can read is not used, a broken one is told of, and XDG_CONFIG_HOME says where it is")
  func file() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    let elsewhere = home.folder.path.path + "/xdg"
    let more = ["XDG_CONFIG_HOME": elsewhere]
    #expect(await home.aloft("login", "--url", server.url, more: more, typed: Self.typed).status == .success)
    #expect(!FileManager.default.fileExists(atPath: home.file))
    let path = elsewhere + "/aloft/config.yaml"
    #expect(await home.aloft("whoami", more: more).status == .success)
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
    let open = await home.aloft("whoami", more: more)
    #expect(open.status == .usage && open.errors.contains("chmod 600"))
    // With all that is needed in the environment it does not matter.
    let own = more.merging(["ALOFT_URL": server.url, "ALOFT_TOKEN": "good"]) { $1 }
    #expect(await home.aloft("whoami", more: own).status == .success)
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
    for text in ["- a", "contexts: 7", "contexts: {a: {token: t}}", "a: [", "contexts: {a: {url: ftp://x}}"] {
      try text.write(toFile: path, atomically: false, encoding: .utf8)
      let broken = await home.aloft("context", "list", more: more)
      #expect(broken.status == .usage && !broken.errors.isEmpty, "\(text)")
    }
  }

  @Test("an admin sets a password that is typed twice the same, or from a file")
  func setPassword() async throws {
    let (server, home) = (try await CannedServer(), try Home())
    let own = ["ALOFT_URL": server.url, "ALOFT_TOKEN": "good"]
    let typed = ["New password: ": "correct horse", "Once more: ": "correct horse"]
    let set = await home.aloft("user", "set-password", "bob", more: own, typed: typed)
    #expect(set.status == .success && set.errors.contains("set the password of bob"), "\(set)")
    let request = try #require(try await server.requests().last { $0["method"] == "PUT" })
    #expect(request["path"] == "/v1/users/bob/password" && request["body"] == ["password": "correct horse"])
    let differs = await home.aloft(
      "user", "set-password", "bob", more: own, typed: typed.merging(["Once more: ": "x"]) { $1 })
    #expect(differs.status == .usage)
  }
}
