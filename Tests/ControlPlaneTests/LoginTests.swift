import Foundation
import HTTP
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Login")
struct LoginTests {
  @Test("an unknown user, a service, a user without a password and a wrong password get the same answer")
  func same() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      try await test.makeUser("bare")
      var details: Set<String> = []
      for name in ["ada", "bare", "root", "nobody"] {
        let answer = await Browser.login(test, name, password: "not the password")
        #expect(answer.status == 401 && answer.code == "login_failed", "\(answer)")
        #expect(answer.header("WWW-Authenticate") != nil && answer.header("Set-Cookie") == nil)
        details.insert(answer["detail"]?.stringValue ?? "")
      }
      #expect(details.count == 1)
    }
  }

  @Test("failed logins are in the audit, with the user where there is one and without the password")
  func audit() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      for name in ["ada", "nobody"] { _ = await Browser.login(test, name, password: "a secret of mine") }
      try await test.plane.stepRefusals()
      let records = await test.call(.get, "/v1/audit?operation=createSession&outcome=refused")
      let items = try #require(records["items"]?.arrayValue)
      #expect(items.count == 2, "\(records)")
      #expect(Set(items.compactMap { $0["user_name"]?.stringValue }) == ["ada", "anonymous"])
      #expect(items.allSatisfy { $0["refusal"] == "login_failed" && $0["peer"] == "127.0.0.1" })
      #expect(items.allSatisfy { $0["request"]?["password"] == "***" })
      #expect(!String(decoding: records.bytes, as: UTF8.self).contains("a secret of mine"))
    }
  }

  @Test("who guesses at one account from one address waits after ten; others and other accounts do not")
  func account() async throws {
    try await TestPlane.with { test async throws in
      for name in ["ada", "bob"] { try await test.makePerson(name) }
      var answers: [Answer] = []
      for _ in 0..<12 { answers.append(await Browser.login(test, "ada", password: "wrong one", from: "192.0.2.1")) }
      #expect(answers.prefix(10).allSatisfy { $0.code == "login_failed" })
      for answer in answers.suffix(2) {
        #expect(answer.status == 429 && answer.code == "rate_limited")
        let wait = try #require(Int(answer.header("Retry-After") ?? ""))
        #expect((1...10).contains(wait), "delayed, not locked out")
        #expect(answer.header("RateLimit-Limit") == "10" && answer.header("RateLimit-Remaining") == "0")
        #expect(answer.header("RateLimit-Reset") != nil)
      }
      #expect(await Browser.login(test, "ada", from: "192.0.2.1").status == 429, "also with the right password")
      #expect(await Browser.login(test, "ada", from: "192.0.2.2").status == 201)
      #expect(await Browser.login(test, "bob", from: "192.0.2.1").status == 201)
    }
  }

  @Test("who guesses at many accounts from one address waits; a /64 is one address, IPv4 addresses are each their own")
  func address() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      var refused = 0
      for index in 0..<60 {
        let answer = await Browser.login(test, "user-\(index)", from: "2001:db8:1:2::\(index + 1)")
        if answer.status == 429 { refused += 1 }
      }
      #expect((8...10).contains(refused))
      #expect(await Browser.login(test, "ada", from: "2001:db8:1:2:ffff::1").status == 429)
      #expect(await Browser.login(test, "ada", from: "2001:db8:1:3::1").status == 201)
      #expect(await Browser.login(test, "ada", from: "192.0.2.1").status == 201)
    }
  }

  @Test("many addresses that guess at one account slow each other down, and not its owner, who was there before")
  func notLockedOut() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      #expect(await Browser.login(test, "ada", from: "198.51.100.7").status == 201)
      var tried = 0
      for index in 0..<120 {
        let answer = await Browser.login(test, "ada", password: "wrong one", from: "203.0.113.\(index)")
        if answer.code == "login_failed" { tried += 1 }
      }
      #expect((50...52).contains(tried))
      #expect(await Browser.login(test, "ada", from: "203.0.113.200").status == 429)
      #expect(await Browser.login(test, "ada", from: "198.51.100.7").status == 201)
    }
  }

  @Test("10 000 logins from 10 000 addresses leave a bounded number of meters, records and waiting refusals")
  func tenThousand() async throws {
    try await TestPlane.with { test async throws in
      try await test.makePerson("ada")
      let limits = test.plane.plane.logins.limits
      await withTaskGroup(of: Int.self) { group in
        for worker in 0..<4 {
          group.addTask {
            var failed = 0
            for index in stride(from: worker, to: 10_000, by: 4) {
              let (name, address) = (index % 2 == 0 ? "ada" : "u\(index)", "10.\(index >> 8).\(index & 255).1")
              let answer = await Browser.login(test, name, password: "wrong one", from: address)
              if [401, 429, 503].contains(answer.status) { failed += 1 }
            }
            return failed
          }
        }
        #expect(await group.reduce(0, +) == 10_000)
      }
      #expect(limits.entries <= 3 * LoginLimits.mostEntries)
      #expect(test.plane.plane.logins.hasher.load == 0)
      try await test.plane.stepRefusals()
      let recorded = try await test.count("SELECT count(*) FROM audit WHERE operation = 'createSession'")
      #expect(recorded <= RefusalLog.most, "there is a most for records that strangers make: \(recorded)")
      #expect(try await test.count("SELECT count(*) FROM login_sites") == 0)
      print("10 000 logins: \(limits.entries) meters, \(recorded) records")
    }
  }

  @Test("the meters stay bounded under 200 000 addresses and accounts")
  func meters() {
    let limits = LoginLimits(environment: .live)
    for index in 0..<200_000 {
      limits.failed(account: "a\(index)", from: "10.\(index >> 16).\(index >> 8 & 255).\(index & 255)")
    }
    #expect(limits.entries <= 3 * LoginLimits.mostEntries)
  }

  @Test("a login at the moment at which the password changes leaves no session of the old one")
  func race() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      try await test.makePerson("ada")
      for round in 0..<10 {
        let (old, next) = (round == 0 ? Browser.password("ada") : "password no \(round)", "password no \(round + 1)")
        async let login = Browser.login(test, "ada", password: old, from: "192.0.2.\(round)")
        async let change: Void = test.setPassword(of: "ada", next)
        _ = try await (login, change)
        #expect(try await test.count("SELECT count(*) FROM sessions") == 0)
      }
    }
  }
}
