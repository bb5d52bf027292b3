import AloftModel
import HTTPClient
import Execution
import Foundation
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Passwords")
struct PasswordTests {
  @Test("the hash is scrypt as in RFC 7914, section 12")
  func vector() throws {
    let hash = try PasswordHash.make(
      of: Array("password".utf8), salt: Array("NaCl".utf8),
      cost: PasswordCost(cost: 1024, blockSize: 8, parallelism: 16))
    let expected = "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
    #expect(hash.hash.map { String(format: "%02x", $0) }.joined() == expected)
    #expect(try hash.isOf(Array("password".utf8)))
    #expect(try !hash.isOf(Array("Password".utf8)))
  }

  @Test("the standard cost is what OWASP asks for, and works")
  func standard() throws {
    let cost = PasswordCost.standard
    #expect(cost.cost * cost.blockSize * 128 == 32 << 20 && cost.parallelism == 3)
    let hash = try PasswordHash.make(of: [1], salt: [UInt8](repeating: 1, count: 16), cost: cost)
    #expect(try hash.isOf([1]))
  }

  @Test("more than the bound of hashes at once are refused with 503, and what was taken is finished")
  func bounded() async throws {
    let hasher = PasswordHasher(cost: PasswordCost(cost: 1 << 11, blockSize: 8, parallelism: 1), environment: .live)
    let bound = PasswordHasher.threads + PasswordHasher.mostWaiting
    let outcomes = await withTaskGroup(of: Int?.self) { group in
      for index in 0..<100 {
        group.addTask {
          do { return try await hasher.hash([UInt8(index)]).hash.count } catch {
            return Problem.of(error).status == 503 ? nil : -1
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.count { $0 == PasswordHash.hashBytes } >= bound)
    #expect(outcomes.allSatisfy { $0 == nil || $0 == PasswordHash.hashBytes })
    #expect(hasher.load == 0)
  }

  @Test("while the threads are busy up to the bound, nothing more is taken")
  func exactly() async throws {
    let hasher = PasswordHasher(cost: PasswordCost(cost: 1 << 13, blockSize: 8, parallelism: 2), environment: .live)
    let bound = PasswordHasher.threads + PasswordHasher.mostWaiting
    let tasks = (0..<bound).map { _ in Task { try await hasher.verify([1], against: nil) } }
    try await eventually("all are taken") { hasher.load == bound || tasks.isEmpty }
    await #expect(throws: Problem.self) { try await hasher.verify([1], against: nil) }
    for task in tasks { #expect(try await task.value == false) }
  }

  @Test("while passwords are hashed, the connections' loops answer others")
  func loops() async throws {
    let slow = PasswordCost(cost: 1 << 13, blockSize: 8, parallelism: 4)
    try await TestPlane.with(poolSize: 4, configure: { $0.passwordCost = slow }) { test async throws in
      try await test.withServer { reach in
        let hasher = test.plane.plane.logins.hasher
        var login = HTTPClientRequest(method: .post, url: reach.url + "/v1/sessions")
        login.headers[.contentType] = "application/json"
        login.body = .bytes(Array(#"{"user":"nobody","password":"wrong"}"#.utf8))
        let logins = (0..<8).map { _ in
          Task { [login] in try await reach.client.send(login, deadline: .seconds(120)).status }
        }
        try await eventually("they are hashed", within: .seconds(60)) { hasher.load == 8 }
        let answer = try await reach.client.send(test.request("/v1/whoami", of: reach), deadline: .seconds(60))
        #expect(answer.status == 200 && hasher.load > 0, "answered before they were done")
        for login in logins { #expect(try await login.value == 401) }
      }
    }
  }

  @Test("an admin sets and removes a person's password; nobody else, and a service has none")
  func set() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      #expect(await Browser.login(test, "ada").status == 201)
      let service = await test.call(.put, "/v1/users/root/password", ["password": "long enough for a password"])
      #expect(service.code == "wrong_state", "\(service)")
      for role in [nil, "auditor", "operator"] {
        let token = try await test.makeToken(cloudRole: role.flatMap { .init(rawValue: $0) })
        let answer = await test.call(
          .put, "/v1/users/ada/password", ["password": "long enough for a password"], headers: TestPlane.bearer(token))
        #expect(answer.code == "forbidden")
      }
      #expect(await test.call(.delete, "/v1/users/ada/password").status == 204)
      #expect(await test.call(.delete, "/v1/users/ada/password").code == "not_found")
      #expect(await Browser.login(test, "ada").code == "login_failed")
    }
  }

  @Test("a password is 12 characters at least and 1024 bytes at most")
  func length() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      func set(_ password: String) async -> Answer {
        await test.call(.put, "/v1/users/ada/password", ["password": .string(password)])
      }
      let short = await set("eleven chars".dropLast().description)
      #expect(short.code == "too_short" && short.place == "/password", "\(short)")
      #expect(await set("twelve chars").status == 204)
      #expect(await set(String(repeating: "x", count: 1024)).status == 204)
      #expect(await set(String(repeating: "x", count: 1025)).code == "too_long")
      let bytes = await set(String(repeating: "é", count: 600))
      #expect(bytes.code == "too_long" && bytes.place == "/password", "\(bytes)")
      let odd = "pä ß\u{1F512}\t\"word\"\u{7f}!"
      #expect(await set(odd).status == 204)
      #expect(await Browser.login(test, "ada", password: odd).status == 201)
    }
  }

  @Test("one changes one's own with the present one, which ends all one's sessions and no token")
  func own() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let (one, two) = (try await Browser(test, as: "ada"), try await Browser(test, as: "ada"))
      let token = try await test.issue(["user": "ada"]).secret
      let wrong = await one.call(
        .put, "/v1/whoami/password", ["current_password": "something else", "password": "the next password"])
      #expect(wrong.status == 403 && wrong.place == "/current_password", "\(wrong)")
      let dry = await one.call(
        .put, "/v1/whoami/password?dry_run=true",
        ["current_password": .string(Browser.password("ada")), "password": "the next password"])
      #expect(dry.status == 204, "\(dry)")
      let changed = await one.call(
        .put, "/v1/whoami/password",
        ["current_password": .string(Browser.password("ada")), "password": "the next password"])
      #expect(changed.status == 204, "\(changed)")
      for browser in [one, two] { #expect(await browser.call(.get, "/v1/whoami").code == "session_invalid") }
      #expect(await test.call(.get, "/v1/whoami", headers: TestPlane.bearer(token)).status == 200)
      #expect(await Browser.login(test, "ada").code == "login_failed")
      #expect(await Browser.login(test, "ada", password: "the next password").status == 201)
    }
  }

  @Test("who has no password cannot change it, and a token for one project cannot either")
  func notOwn() async throws {
    try await TestPlane.with { test async throws in
      let body: JSONValue = ["current_password": "whatever it may be", "password": "the next password"]
      let without = TestPlane.bearer(try await test.makeToken())
      #expect(await test.call(.put, "/v1/whoami/password", body, headers: without).code == "wrong_state")
      let narrow = TestPlane.bearer(try await test.makeToken(["default": .admin], limit: ("default", .admin)))
      #expect(await test.call(.put, "/v1/whoami/password", body, headers: narrow).code == "forbidden")
      #expect(await test.call(.get, "/v1/sessions", headers: narrow).code == "forbidden")
    }
  }

  @Test("a password whose cost is another is hashed anew at the next login, and no other")
  func rehash() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let old = try PasswordHash.make(
        of: Array(Browser.password("ada").utf8), salt: [UInt8](repeating: 3, count: 16),
        cost: PasswordCost(cost: 4, blockSize: 2, parallelism: 1))
      try await test.database.execute(
        "UPDATE passwords SET cost = 4, block_size = 2, parallelism = 1, salt = \(old.salt), hash = \(old.hash)")
      func stored() async throws -> [UInt8] {
        try #require(try await test.database.one("SELECT hash FROM passwords WHERE cost = 16")).get(0)
      }
      #expect(await Browser.login(test, "ada", password: "not the password").code == "login_failed")
      #expect(try await test.count("SELECT count(*) FROM passwords WHERE cost = 4") == 1)
      #expect(await Browser.login(test, "ada").status == 201)
      let renewed = try await stored()
      #expect(await Browser.login(test, "ada").status == 201)
      #expect(try await stored() == renewed)
    }
  }

  @Test("no password is in the database or in the audit, and each has salt of its own")
  func secrets() async throws {
    try await TestPlane.with { test async throws in
      let password = "the same password for both"
      for name in ["ada", "bob"] {
        try await test.makePerson(name)
        try await test.setPassword(of: name, password)
        #expect(await Browser.login(test, name, password: password).status == 201)
      }
      #expect(try await test.count("SELECT count(DISTINCT salt) FROM passwords") == 2)
      #expect(try await test.count("SELECT count(DISTINCT hash) FROM passwords") == 2)
      let pattern = "%same password%"
      #expect(try await test.count("SELECT count(*) FROM audit a WHERE a::text LIKE \(pattern)") == 0)
      #expect(try await test.count("SELECT count(*) FROM audit WHERE operation = 'createSession'") == 2)
    }
  }
}
