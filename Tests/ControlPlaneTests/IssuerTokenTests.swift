import AloftModel
import Crypto
import CryptoExtras
import Foundation
import HTTP
import JSON
import TestSupport
import Testing

@testable import ControlPlane

@Suite("Tokens of issuers")
struct IssuerTokenTests {
  @Test("a good token calls as a user of its own, with the roles that its claims give and no membership written down")
  func good() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let token = try issuer.token(issuer.claims())
      let who = await test.call(by: token)
      #expect(who.status == 200 && who["user"]?["name"] == "ada-lovelace", "\(who)")
      #expect(who["user"]?["kind"] == "person" && who["token_id"] == .null && who["session_id"] == .null)
      #expect(who["cloud_role"] == .null && who["projects"]?[0]?["role"] == "member")
      #expect(await test.call(by: token, .get, "/v1/vms").status == 200)
      #expect(await test.call(by: token, .get, "/v1/nodes").code == "forbidden")
      for table in ["project_members", "api_tokens", "sessions"] {
        #expect(try await test.count("SELECT count(*) FROM \(identifier: table)") == (table == "api_tokens" ? 1 : 0))
      }
      // The next token of the same subject is the same user, whatever it is called, and may what it says.
      let next = try issuer.token(
        issuer.claims("ada-1", ["preferred_username": "countess", "groups": ["ops", "web-lead"]]))
      let again = await test.call(by: next)
      #expect(again["user"] == who["user"] && again["cloud_role"] == "operator", "\(again)")
      #expect(again["projects"]?[0]?["role"] == "admin")
      #expect(await test.call(by: next, .get, "/v1/nodes").status == 200)
      #expect(await test.call(by: token, .get, "/v1/nodes").code == "forbidden", "each token by its own claims")
      #expect(try await test.count("SELECT count(*) FROM users") == 2)
    }
  }

  @Test("RS256 works like ES256, and lists of audiences too")
  func rsa() async throws {
    let key = try _RSA.Signing.PrivateKey(keySize: .bits2048)
    try await TestPlane.withIssuer { test, issuer async throws in
      issuer.state.withLock { $0.keys = ["r1": .rsa(key)] }
      let claims = issuer.claims("ada-1", ["aud": ["other", .string(TestIssuer.clientID)]])
      #expect(try await test.call(by: issuer.token(claims, keyID: "r1")).status == 200)
    }
  }

  @Test("a token for somebody else, of another issuer, past its time or from the future is refused with words")
  func claims() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let now = Int64(Date().timeIntervalSince1970)
      let cases: [(changes: [String: JSONValue], code: String, words: String)] = [
        (["aud": "somebody-else"], "token_invalid", "meant for somebody else"),
        (["aud": .null], "token_invalid", "meant for somebody else"),
        (["iss": "https://evil.example"], "token_invalid", "nobody here trusts"),
        (["iss": .string(issuer.url + "/")], "token_invalid", "nobody here trusts"),
        (["iss": .null], "token_invalid", "nobody here trusts"),
        (["exp": .integer(now - 300)], "token_expired", "expired at"),
        (["exp": .null], "token_invalid", "(exp)"), (["exp": "tomorrow"], "token_invalid", "(exp)"),
        (["iat": .integer(now + 300)], "token_invalid", "one of the clocks is wrong"),
        (["iat": .null], "token_invalid", "(iat)"),
        (["nbf": .integer(now + 300)], "token_invalid", "nbf is"),
        (["events": [:]], "token_invalid", "(events)"), (["cnf": ["jkt": "x"]], "token_invalid", "(cnf)"),
        (["sub": .null], "token_invalid", "(sub)"), (["sub": ""], "token_invalid", "(sub)"),
        (["sub": .string(String(repeating: "x", count: 256))], "token_invalid", "(sub)"),
      ]
      for (changes, code, words) in cases {
        let answer = try await test.call(by: issuer.token(issuer.claims("ada-1", changes)))
        #expect(answer.status == 401 && answer.code == code, "\(changes): \(answer)")
        #expect(answer["detail"]?.stringValue?.contains(words) == true, "\(changes): \(answer)")
      }
      // A minute of difference is taken.
      for changes: [String: JSONValue] in [
        ["exp": .integer(now - 30)], ["iat": .integer(now + 30)], ["nbf": .integer(now + 30)],
      ] {
        #expect(try await test.call(by: issuer.token(issuer.claims("ada-1", changes))).status == 200, "\(changes)")
      }
      #expect(try await test.count("SELECT count(*) FROM users") == 2)
    }
  }

  @Test("alg none, HMAC with the public key, algorithms that are not allowed and broken signatures are refused")
  func forged() async throws {
    let rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
    try await TestPlane.withIssuer { test, issuer async throws in
      issuer.state.withLock { $0.keys["r1"] = .rsa(rsa) }
      let claims = issuer.claims("ada-1", ["groups": ["root"]])
      #expect(try await test.call(by: issuer.token(claims)).status == 200)
      var forged: [String] = []
      for (algorithm, keyID) in [("none", "k1"), ("None", "k1"), ("NONE", "k1"), ("", "k1")] {
        forged.append(TestIssuer.unsigned(["alg": .string(algorithm), "kid": .string(keyID)], claims) + ".")
      }
      for secret in [rsa.publicKey.pemRepresentation, rsa.publicKey.derRepresentation.base64EncodedString()] {
        for algorithm in ["HS256", "HS384", "RS256", "ES256"] {
          let signed = TestIssuer.unsigned(["alg": .string(algorithm), "kid": "r1"], claims)
          let code = HMAC<SHA256>.authenticationCode(
            for: Array(signed.utf8), using: SymmetricKey(data: Array(secret.utf8)))
          forged.append(signed + "." + Base64URL.encode(code))
        }
      }
      let stranger = TestIssuer.Key.p256(P256.Signing.PrivateKey())
      forged.append(try TestIssuer.token(claims, by: stranger, keyID: "k1"))
      forged.append(try TestIssuer.token(claims, by: stranger, keyID: nil))
      // A key of its own in the header, or a place to fetch one.
      forged.append(
        try TestIssuer.token(
          claims, by: stranger, keyID: "k1",
          header: ["jwk": ["kty": "EC"], "jku": .string(issuer.url + "/mine"), "x5u": "https://evil.example"]))
      let good = try issuer.token(claims)
      forged.append(try issuer.token(claims, algorithm: "ES384"))
      forged.append(try issuer.token(claims, algorithm: "PS256"))
      forged.append(try issuer.token(claims, header: ["crit": ["exp"]]))
      forged.append(try issuer.token(claims, header: ["typ": "logout+jwt"]))
      let parts = good.split(separator: ".").map(String.init)
      let other = Base64URL.encode(JSONValue.object(issuer.claims("root", ["groups": ["root"]])).bytes)
      forged.append("\(parts[0]).\(other).\(parts[2])")
      forged += ["\(parts[0]).\(parts[1]).", "\(parts[0])..\(parts[2])", "..", "\(good)=", "a.b.c", "\(good).x"]
      forged.append("\(parts[0]).\(parts[1]).\(String(repeating: "A", count: 20_000))")
      for token in forged {
        let answer = await test.call(by: token)
        #expect(answer.status == 401 && answer.code == "token_invalid", "\(token): \(answer)")
      }
      #expect(try await test.count("SELECT count(*) FROM users") == 2)
    }
  }

  @Test("unknown keys make the issuer be asked once in ten seconds, however many tokens come")
  func storm() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let stranger = TestIssuer.Key.p256(P256.Signing.PrivateKey())
      let claims = issuer.claims()
      await withTaskGroup(of: Void.self) { group in
        for index in 0..<200 {
          group.addTask {
            guard let token = try? TestIssuer.token(claims, by: stranger, keyID: "k-\(index)") else { return }
            let answer = await test.call(by: token)
            #expect(answer.status == 401 || answer.status == 429 || answer.status == 503, "\(answer)")
          }
        }
      }
      #expect(issuer.keyReads == 1)
      #expect(try await test.call(by: issuer.token(claims)).status == 200)
      #expect(issuer.keyReads == 1)
    }
  }

  @Test(
    "the rule of reading: at once, once a pause for unknown keys, again when it is old, and old keys for some hours")
  func rule() {
    var cache = KeyCache()
    #expect(cache.step(isKnown: false, at: 100) == .read)
    cache.tried(at: 100)
    #expect(cache.step(isKnown: false, at: 101) == .wait(seconds: 9))
    cache.wasRead(at: 101)
    #expect(cache.step(isKnown: false, at: 105) == .use && cache.step(isKnown: true, at: 105) == .use)
    #expect(cache.step(isKnown: false, at: 110) == .read && cache.step(isKnown: true, at: 110) == .use)
    #expect(cache.step(isKnown: true, at: 101 + KeyCache.lifetime) == .read)
    cache.tried(at: 800)
    #expect(cache.step(isKnown: true, at: 801) == .use)
    #expect(cache.step(isKnown: true, at: 101 + KeyCache.patience) == .read)
    cache.tried(at: 101 + KeyCache.patience)
    #expect(cache.step(isKnown: true, at: 102 + KeyCache.patience) == .wait(seconds: 9))
  }

  @Test("a new key of the issuer is taken up, and one that it took away is not good any more")
  func rotation() async throws {
    try await TestIssuer.with { issuer in
      let clock = SteppedClock()
      let issuers = try Issuers([issuer.settings()], environment: clock.environment, logger: quiet)
      let first = try issuer.token(issuer.claims("one"))
      #expect(try await issuers.verify(bearer: first).subject == "one")
      issuer.state.withLock { $0.keys = ["k2": .p256(P256.Signing.PrivateKey())] }
      let second = try issuer.token(issuer.claims("two"), keyID: "k2")
      await #expect(throws: Problem.self) { try await issuers.verify(bearer: second) }
      clock.advance(by: KeyCache.pause)
      #expect(try await issuers.verify(bearer: second).subject == "two")
      #expect(issuer.keyReads == 2)
      clock.advance(by: Issuers.remembered)
      await #expect(throws: Problem.self) { try await issuers.verify(bearer: first) }
      // Without any key nothing is good.
      let key = issuer.state.withLock { state in
        defer { state.keys = [:] }
        return state.keys["k2"]
      }
      clock.advance(by: KeyCache.lifetime)
      await #expect(throws: Problem.self) { try await issuers.verify(bearer: second) }
      issuer.state.withLock { $0.keys["k2"] = key }
      clock.advance(by: KeyCache.pause)
      #expect(try await issuers.verify(bearer: second).subject == "two")
      clock.advance(by: Issuers.remembered)
      // While the issuer is down, known keys go on being good.
      issuer.state.withLock { $0.isBroken = true }
      clock.advance(by: KeyCache.lifetime)
      #expect(try await issuers.verify(bearer: second).subject == "two")
      // For some hours.
      clock.advance(by: KeyCache.patience)
      for _ in 0..<2 {
        let problem = await #expect(throws: Problem.self) { try await issuers.verify(bearer: second) }
        #expect(problem?.code == .unavailable)
      }
    }
  }

  @Test("an issuer that is down, or whose document is about another one, is answered 503 and asked once in ten seconds")
  func down() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      issuer.state.withLock { $0.otherIssuer = "https://evil.example" }
      for index in 0..<5 {
        let answer = try await test.call(by: issuer.token(issuer.claims("u\(index)")))
        #expect(answer.status == 503 && answer.header("Retry-After") != nil, "\(answer)")
      }
      #expect(issuer.keyReads == 0)
    }
  }

  @Test("over TLS the issuer's certificate must come from the authority in the settings, or one of the system's")
  func tls() async throws {
    let folder = NSTemporaryDirectory() + "aloft-issuer-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let (certificate, key) = try CertificateAuthority.create(name: "issuers", now: Date())
    let authority = try CertificateAuthority(certificatePEM: certificate, privateKeyPEM: key)
    let server = try authority.issueServer(names: ["127.0.0.1"], now: Date(), lifetime: 3600)
    for (name, text) in [("ca", certificate), ("crt", server.certificatePEM), ("key", server.privateKeyPEM)] {
      try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8)
    }
    let tls = TLSConfiguration(certificateChainFile: folder + "/crt", privateKeyFile: folder + "/key")
    try await TestIssuer.with(tls: tls) { issuer in
      let token = try issuer.token(issuer.claims())
      let trusting = try Issuers(
        [issuer.settings { $0.caFile = folder + "/ca" }], environment: .live, logger: quiet)
      #expect(try await trusting.verify(bearer: token).subject == "ada-1")
      let other = try Issuers([issuer.settings()], environment: .live, logger: quiet)
      let problem = await #expect(throws: Problem.self) { try await other.verify(bearer: token) }
      #expect(problem?.code == .unavailable)
    }
  }

  @Test("who may choose a name at the issuer does not become the user who has that name here")
  func names() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      try await test.makeUser("ada-lovelace", cloudRole: .admin)
      let who = try await test.call(by: issuer.token(issuer.claims("mallory")))
      let name = try #require(who["user"]?["name"]?.stringValue)
      #expect(name.hasPrefix("ada-lovelace-") && who["cloud_role"] == .null, "\(who)")
      let root = try await test.call(by: issuer.token(issuer.claims("eve", ["preferred_username": "root"])))
      #expect(root["user"]?["name"]?.stringValue?.hasPrefix("root-") == true, "\(root)")
    }
    #expect(IssuedUsers.name(from: "Ada.Lovelace@example.org") == "ada-lovelace")
    #expect(IssuedUsers.name(from: "42-ünï code--") == "n-code")
    #expect(IssuedUsers.name(from: "@") == nil && IssuedUsers.name(from: "123") == nil)
    #expect(IssuedUsers.name(from: String(repeating: "a", count: 99))?.count == 63)
  }

  @Test("who has no role by their claims is refused and leaves no user, unless everybody is taken in")
  func admission() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let token = try issuer.token(issuer.claims("bob", ["groups": ["unknown"]]))
      #expect(await test.call(by: token).code == "forbidden")
      #expect(try await test.count("SELECT count(*) FROM users") == 1)
      // Who was there once stays known, without a role.
      #expect(try await test.call(by: issuer.token(issuer.claims("bob"))).status == 200)
      let who = await test.call(by: token)
      #expect(who.status == 200 && who["projects"] == [], "\(who)")
    }
    try await TestPlane.withIssuer({ $0.admission = .all }) { test, issuer async throws in
      let token = try issuer.token(issuer.claims("bob", ["groups": .null]))
      #expect(await test.call(by: token).status == 200)
    }
  }

  @Test("of many first calls at once one makes the user")
  func firstSight() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      await withTaskGroup(of: Int.self) { group in
        for index in 0..<12 {
          group.addTask {
            let claims = issuer.claims("ada-1", ["jti": .string("\(index)")])
            guard let token = try? issuer.token(claims) else { return 0 }
            return await test.call(by: token).status
          }
        }
        #expect(await group.allSatisfy { $0 == 200 })
      }
      #expect(try await test.count("SELECT count(*) FROM users") == 2)
      #expect(try await test.count("SELECT count(*) FROM user_identities") == 1)
    }
  }

  @Test("a disabled user's tokens are refused, and what is done with one is in the audit under the user")
  func disabled() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let token = try issuer.token(issuer.claims("ada-1", ["groups": ["web", "root"]]))
      let made = await test.call(.post, "/v1/users", ["name": "bob"], headers: TestPlane.bearer(token))
      #expect(made.status == 201, "\(made)")
      #expect(
        try await test.count(
          "SELECT count(*) FROM audit WHERE operation = 'createUser' AND user_name = 'ada-lovelace' AND actor LIKE 'oidc:%'"
        )
          == 2)
      #expect(await test.call(.patch, "/v1/users/ada-lovelace", ["disabled": true]).status == 200)
      try await eventually("it is refused") { await test.call(by: token).code == "user_disabled" }
    }
  }

  @Test(
    "an API token that is made with a token of an issuer has what the database gives, and ends with it at the latest")
  func tokens() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      let headers = TestPlane.bearer(try issuer.token(issuer.claims("ada-1", ["groups": ["root"]])))
      let endless = await test.call(.post, "/v1/tokens", [:], headers: headers)
      #expect(endless.code == "forbidden" && endless.place == "/ttl_seconds", "\(endless)")
      let made = await test.call(.post, "/v1/tokens", ["ttl_seconds": 120], headers: headers)
      let secret = try #require(made["secret"]?.stringValue, "\(made)")
      let who = await test.call(by: secret)
      #expect(who["user"]?["name"] == "ada-lovelace" && who["cloud_role"] == .null, "\(who)")
    }
  }

  @Test("a retry with the next token of the same user changes nothing again, and is told why it gets no answer")
  func retry() async throws {
    try await TestPlane.withIssuer { test, issuer async throws in
      func call(_ id: String) async throws -> Answer {
        let token = try issuer.token(issuer.claims("ada-1", ["groups": ["root"], "jti": .string(id)]))
        return await test.call(
          .post, "/v1/users", ["name": "bob"],
          headers: ["Authorization": "Bearer \(token)", "Idempotency-Key": "one"])
      }
      #expect(try await call("a").status == 201)
      let again = try await call("b")
      #expect(again.code == "idempotency_key_reused", "\(again)")
    }
  }

  @Test("settings that would send secrets in the clear, or mean two issuers at once, stop the start")
  func settings() {
    func starts(_ settings: [IssuerSettings]) -> Bool {
      (try? Issuers(settings, environment: .live, logger: quiet)) != nil
    }
    func issuer(_ url: String, name: String = "corp") -> IssuerSettings {
      IssuerSettings(name: name, url: url, clientID: "x")
    }
    for url in ["https://id.example", "https://id.example/realms/a", "http://127.0.0.1:99", "http://[::1]:1"] {
      #expect(starts([issuer(url)]), "\(url)")
    }
    for url in [
      "http://id.example", "http://127.0.0.1.example", "http://10.0.0.1", "ftp://id.example", "id.example",
      "https://user:word@id.example", "https://id.example?x=y", "https://id.example#x", "https://",
    ] {
      #expect(!starts([issuer(url)]), "\(url)")
    }
    #expect(!starts([issuer("https://a.example"), issuer("https://b.example")]))
    #expect(!starts([issuer("https://a.example"), issuer("https://a.example", name: "other")]))
    #expect(!starts([issuer("https://a.example", name: "a/b")]))
  }
}
