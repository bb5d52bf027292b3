import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Sessions")
struct SessionTests {
  @Test("who logs in calls in the session with its user's roles, and the audit says in which session")
  func life() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada", cloudRole: "admin")
      let answer = await Browser.login(test, "ada")
      let browser = try Browser(test, loggedIn: answer)
      let cookie = try #require(answer.header("Set-Cookie"))
      for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=43200"] {
        #expect(cookie.components(separatedBy: "; ").contains(attribute), "\(cookie)")
      }
      #expect(browser.cookie.utf8.count == 64 && !answer.bytes.contains(Array(browser.cookie.utf8)))
      let who = await browser.call(.get, "/v1/whoami")
      #expect(who["user"]?["name"] == "ada" && who["session_id"]?.stringValue == browser.session, "\(who)")
      #expect(who["token_id"] == .null && who["cloud_role"] == "admin")
      let own = await browser.call(.get, "/v1/session")
      #expect(own["csrf_token"]?.stringValue == browser.csrfToken && own["id"]?.stringValue == browser.session)
      let made = await browser.call(.post, "/v1/users", ["name": "bob"])
      #expect(made.status == 201, "\(made)")
      let id = try #require(SessionID(browser.session))
      #expect(
        try await test.count(
          """
          SELECT count(*) FROM audit
           WHERE session_id = \(id) AND user_name = 'ada' AND operation IN ('createUser', 'createSession')
          """) == 2)
      let out = await browser.call(.delete, "/v1/session")
      #expect(out.status == 204 && out.header("Set-Cookie")?.contains("Max-Age=0") == true, "\(out)")
      #expect(await browser.call(.get, "/v1/whoami").code == "session_invalid")
      #expect(try await test.count("SELECT count(*) FROM sessions") == 0)
    }
  }

  @Test("no secret of a session is in the database")
  func hashed() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let browser = try await Browser(test, as: "ada")
      for text in [browser.cookie, browser.csrfToken] {
        #expect(try await test.count("SELECT count(*) FROM sessions s WHERE s::text LIKE \("%" + text + "%")") == 0)
      }
    }
  }

  @Test("a session that was there before the login is never adopted")
  func fixation() async throws {
    try await TestPlane.with { test async throws in
      for name in ["ada", "eve"] { try await test.makePerson(name) }
      let planted = try await Browser(test, as: "eve")
      for value in [planted.cookie, String(repeating: "0", count: 64)] {
        let answer = await Browser.login(test, "ada", headers: ["Cookie": "\(Browser.cookieName)=\(value)"])
        let browser = try Browser(test, loggedIn: answer)
        #expect(browser.cookie != value)
      }
      #expect(await planted.call(.get, "/v1/whoami")["user"]?["name"] == "eve")
    }
  }

  @Test("a change in a session needs the session's own token; reading does not")
  func csrf() async throws {
    try await TestPlane.with { test async throws in
      for name in ["ada", "bob"] { try await test.makePerson(name, cloudRole: "admin") }
      let (browser, other) = (try await Browser(test, as: "ada"), try await Browser(test, as: "bob"))
      #expect(await browser.call(.get, "/v1/users", csrf: false).status == 200)
      for headers in [[:], ["X-CSRF-Token": ""], ["X-CSRF-Token": other.csrfToken], ["X-CSRF-Token": browser.cookie]] {
        for (method, target) in [
          (.post, "/v1/users"), (.patch, "/v1/users/bob"), (.delete, "/v1/users/bob"),
          (.put, "/v1/users/bob/password"), (.delete, "/v1/session"),
        ] as [(HTTPRequest.Method, String)] {
          let answer = await browser.call(method, target, headers: headers, csrf: false)
          #expect(answer.status == 403 && answer.code == "csrf_refused", "\(method) \(target): \(answer)")
        }
      }
      #expect(await browser.call(.post, "/v1/users", ["name": "carol"]).status == 201)
    }
  }

  @Test("what another site makes the browser send is refused, logging in too")
  func otherSites() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada", cloudRole: "admin")
      let browser = try await Browser(test, as: "ada")
      let foreign: [[String: String]] = [
        ["Origin": "https://evil.example"], ["Origin": "null"], ["Origin": "http://aloft.test"],
        ["Origin": "https://aloft.test.evil.example"], ["Sec-Fetch-Site": "cross-site"],
        ["Sec-Fetch-Site": "same-site"],
        ["Origin": "https://aloft.test", "Sec-Fetch-Site": "cross-site"],
      ]
      for headers in foreign {
        #expect(await browser.call(.post, "/v1/users", ["name": "x"], headers: headers).code == "csrf_refused")
        #expect(await Browser.login(test, "ada", headers: headers).code == "csrf_refused")
      }
      let own: [[String: String]] = [
        [:], ["Origin": "https://aloft.test"], ["Origin": "https://127.0.0.1:1"],
        ["Origin": "https://aloft.test", "Sec-Fetch-Site": "same-origin"], ["Sec-Fetch-Site": "none"],
      ]
      for (index, headers) in own.enumerated() {
        let answer = await browser.call(.post, "/v1/users", ["name": .string("u\(index)")], headers: headers)
        #expect(answer.status == 201, "\(headers): \(answer)")
      }
    }
  }

  @Test("where a token and a cookie come together, the token counts and needs nothing besides")
  func both() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let browser = try await Browser(test, as: "ada")
      let headers = TestPlane.bearer(test.token)
      #expect(await browser.call(.get, "/v1/whoami", headers: headers)["user"]?["name"] == "root")
      #expect(await browser.call(.post, "/v1/users", ["name": "x"], headers: headers, csrf: false).status == 201)
      let wrong = TestPlane.bearer("aloft_00")
      #expect(await browser.call(.get, "/v1/whoami", headers: wrong).code == "token_invalid")
    }
  }

  @Test("a cookie that is none of ours, half of one or two at once are refused")
  func badCookies() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let browser = try await Browser(test, as: "ada")
      let name = Browser.cookieName
      for cookie in [
        "\(name)=", "\(name)=\(browser.cookie.dropLast())", "\(name)=\(browser.cookie.uppercased())",
        "\(name)=\(String(repeating: "0", count: 64))", "\(name)=\(browser.cookie); \(name)=\(browser.cookie)",
        "\(name)=\(test.token)",
      ] where cookie != "\(name)=\(browser.cookie)" {
        #expect(await test.send(.get, "/v1/whoami", headers: ["Cookie": cookie]).code == "session_invalid", "\(cookie)")
      }
      // A session's secret is no token, and a token is no session.
      #expect(await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(browser.cookie)).code == "token_invalid")
      #expect(await test.send(.get, "/v1/whoami", headers: ["Cookie": "a=b"]).code == "unauthenticated")
    }
  }

  @Test("a session ends with its time and when it was not used for long, by the database's clock")
  func expiry() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      for change: SQL in ["expires_at = aloft_now()", "last_used_at = aloft_now() - interval '31 minutes'"] {
        let browser = try await Browser(test, as: "ada")
        #expect(await browser.call(.get, "/v1/whoami").status == 200)
        try await test.database.execute("UPDATE sessions SET \(fragment: change)")
        try await eventually("the session is refused") {
          await browser.call(.get, "/v1/whoami").code == "session_expired"
        }
        #expect(await browser.call(.get, "/v1/sessions").code == "session_expired")
      }
      try await test.plane.stepJanitor()
      #expect(try await test.count("SELECT count(*) FROM sessions") == 0)
    }
  }

  @Test("using a session keeps it from becoming idle, with one write for many calls")
  func use() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let browser = try await Browser(test, as: "ada")
      try await test.database.execute("UPDATE sessions SET last_used_at = aloft_now() - interval '20 minutes'")
      for _ in 0..<20 { #expect(await browser.call(.get, "/v1/whoami").status == 200) }
      #expect(
        try await test.count("SELECT count(*) FROM sessions WHERE last_used_at < aloft_now() - interval '19 minutes'")
          == 1)
      try await test.plane.stepTokens()
      #expect(
        try await test.count("SELECT count(*) FROM sessions WHERE last_used_at > aloft_now() - interval '1 minute'")
          == 1)
    }
  }

  @Test("disabling a user, a new password and ending a session are felt by the other replica within a second")
  func replicas() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let replica = try test.replica()
      func refused(_ browser: Browser, _ codes: [String], by change: () async -> Answer) async throws {
        for plane in [test.plane, replica] { #expect(await browser.call(.get, "/v1/whoami", on: plane).status == 200) }
        let answer = await change()
        #expect(answer.status < 300, "\(answer)")
        #expect(codes.contains(await browser.call(.get, "/v1/whoami").code ?? ""))
        try await eventually("the other replica refuses it", within: .seconds(5)) {
          codes.contains(await browser.call(.get, "/v1/whoami", on: replica).code ?? "")
        }
      }
      try await refused(try await Browser(test, as: "ada"), ["session_invalid"]) {
        await test.call(.put, "/v1/users/ada/password", ["password": .string(Browser.password("ada"))])
      }
      let browser = try await Browser(test, as: "ada")
      try await refused(browser, ["session_invalid"]) { await test.call(.delete, "/v1/sessions/\(browser.session)") }
      try await refused(try await Browser(test, as: "ada"), ["session_invalid", "user_disabled"]) {
        await test.call(.patch, "/v1/users/ada", ["disabled": true])
      }
      #expect(await Browser.login(test, "ada").code == "user_disabled")
      #expect(await test.call(.patch, "/v1/users/ada", ["disabled": false]).status == 200)
      #expect(try await test.count("SELECT count(*) FROM sessions") == 0)
    }
  }

  @Test("one lists and ends one's own sessions, an admin everybody's, and nobody else those of others")
  func lists() async throws {
    try await TestPlane.with { test async throws in
      for name in ["ada", "bob"] { try await test.makePerson(name) }
      let (one, two) = (try await Browser(test, as: "ada"), try await Browser(test, as: "ada", from: "192.0.2.9"))
      let bob = try await Browser(test, as: "bob")
      let listed = await one.call(.get, "/v1/sessions")
      #expect(listed["items"]?.arrayValue?.compactMap { $0["id"]?.stringValue } == [one.session, two.session].sorted())
      #expect(
        listed["items"]?.arrayValue?.compactMap { $0["peer"]?.stringValue }.sorted() == ["127.0.0.1", "192.0.2.9"])
      #expect(await bob.call(.get, "/v1/sessions?user=ada").code == "forbidden")
      #expect(await bob.call(.delete, "/v1/sessions/\(one.session)").code == "not_found")
      #expect(await one.call(.delete, "/v1/sessions/\(two.session)").status == 204)
      #expect(await two.call(.get, "/v1/whoami").code == "session_invalid")
      #expect(await test.call(.get, "/v1/sessions?user=ada")["items"]?.arrayValue?.count == 1)
      #expect(await test.call(.delete, "/v1/sessions/\(one.session)").status == 204)
      #expect(await test.call(.get, "/v1/session").code == "not_found")
    }
  }

  @Test("a user has twenty sessions at most; one more ends the one that was used the longest ago")
  func cap() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let first = try await Browser(test, as: "ada")
      try await test.database.execute("UPDATE sessions SET last_used_at = aloft_now() - interval '1 minute'")
      for index in 0..<20 { _ = try await Browser(test, as: "ada", from: "192.0.2.\(index)") }
      #expect(try await test.count("SELECT count(*) FROM sessions") == 20)
      try await eventually("the first is ended") { await first.call(.get, "/v1/whoami").code == "session_invalid" }
    }
  }

  @Test("in a session one makes tokens that outlive it, and retries get their answers")
  func tokens() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let browser = try await Browser(test, as: "ada")
      let key = ["Idempotency-Key": "one"]
      let made = await browser.call(.post, "/v1/tokens", ["description": "laptop"], headers: key)
      #expect(made.status == 201 && made["expires_at"] == .null, "\(made)")
      #expect(await browser.call(.post, "/v1/tokens", ["description": "laptop"], headers: key).bytes == made.bytes)
      #expect(await browser.call(.delete, "/v1/session").status == 204)
      let token = try #require(made["secret"]?.stringValue)
      #expect(await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(token))["user"]?["name"] == "ada")
    }
  }

  @Test("sessions have the same rate limits as tokens")
  func rates() async throws {
    try await TestPlane.with(rateLimit: RateLimit(perSecond: 1, burst: 3)) { test async throws in
      _ = try await test.makeToken(name: "ada")
      let hash = try PasswordHash.make(
        of: Array(Browser.password("ada").utf8), salt: [UInt8](repeating: 3, count: 16),
        cost: test.plane.plane.settings.passwordCost)
      try await test.database.transaction { session in
        let ada = try #require(try UserStore.find("ada", in: session))
        try PasswordStore.set(hash, of: ada.id, in: session)
      }
      let browser = try await Browser(test, as: "ada")
      var codes: [String?] = []
      for _ in 0..<6 { codes.append(await browser.call(.get, "/v1/whoami").code) }
      #expect(codes.contains("rate_limited"))
    }
  }
}
