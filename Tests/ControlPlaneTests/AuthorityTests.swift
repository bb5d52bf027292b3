import AloftModel
import ControlPlane
import Crypto
import Execution
import Foundation
import HTTP
import JSON
import Logging
import Postgres
import Testing
import X509

/// The authorities in the database, and what agents are told and asked for while one replaces another.
@Suite("Authorities")
struct AuthorityTests {
  /// As if the states were entered long ago.
  private func age(_ test: TestPlane) async throws {
    try await test.database.execute("UPDATE authorities SET state_since = state_since - interval '1 hour'")
  }

  private func states(_ test: TestPlane) async throws -> [AuthorityState] {
    try await test.authorities.status().authorities.map(\.state)
  }

  @Test("an authority is taken over once, sealed; of many replicas at once one makes it, and all sign by the same")
  func prepare() async throws {
    try await TestPlane.with { test async throws in
      #expect(try await test.authorities.prepare() == .there)
      try await test.database.execute("DELETE FROM authorities")
      let origins = try await withThrowingTaskGroup(of: AuthorityCommands.Origin.self) { group in
        for _ in 0..<4 { group.addTask { try await test.authorities.prepare() } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(origins.filter { $0 == .made }.count == 1 && origins.filter { $0 == .there }.count == 3)
      let made = try await test.replica().authorities()
      #expect(try await test.replica().authorities().fingerprints == made.fingerprints)
      let old = try CertificateAuthority.create(name: "old", now: Date())
      #expect(try await test.authorities.prepare(importing: old) == .there)
      #expect(try await test.authorities.anchors() == made.anchors.authorities)
      let stored = try await test.database.one("SELECT encode(sealed_key, 'escape') FROM authorities")
      #expect(try stored?.get(0, as: String.self).contains("PRIVATE KEY") == false)
    }
  }

  @Test("a replica with another sealing key cannot sign, and says which key it lacks")
  func wrongKey() async throws {
    try await TestPlane.with { test async throws in
      let stranger = try test.replica(sealing: try SealingKey(SealingKey.generate()))
      let error = await #expect(throws: SealingKey.Failure.self) { _ = try await stranger.authorities() }
      #expect(error == .unknownKey(id: try TestPlane.sealing.get().ids[0]))
    }
  }

  @Test("a key that does not belong to its certificate, and a certificate of no authority, are not taken over")
  func badImport() async throws {
    try await TestPlane.with { test async throws in
      try await test.database.execute("DELETE FROM authorities")
      let (one, other) = (
        try CertificateAuthority.create(name: "one", now: Date()),
        try CertificateAuthority.create(name: "other", now: Date())
      )
      await #expect(throws: CommandRefusal.self) {
        try await test.authorities.prepare(importing: (one.certificatePEM, other.privateKeyPEM))
      }
      let server = try test.authority.issueServer(names: ["localhost"], now: Date(), lifetime: 60)
      await #expect(throws: CommandRefusal.self) { try await test.authorities.prepare(importing: server) }
      #expect(try await states(test) == [])
    }
  }

  @Test("a server beside Aloft gets a certificate for its names, which is no node's")
  func issueServer() async throws {
    try await TestPlane.with { test async throws in
      let made = try await test.authorities.issueServer(names: ["ovn.example", "10.0.0.5", "fd00::5"], lifetime: 3600)
      let certificate = try Certificate(pemEncoded: made.certificatePEM)
      let authority = try Certificate(pemEncoded: try await test.authorities.anchors())
      #expect(authority.publicKey.isValidSignature(certificate.signature, for: certificate))
      #expect(try certificate.extensions.extendedKeyUsage == ExtendedKeyUsage([.serverAuth]))
      let names = try #require(try certificate.extensions.subjectAlternativeNames)
      #expect(names.count == 3 && names.first == .dnsName("ovn.example"))
      #expect(try Certificate.PrivateKey(pemEncoded: made.privateKeyPEM).publicKey == certificate.publicKey)
      for names in [[], [""], ["a b"], ["-x"], ["https://ovn"], [String(repeating: "a", count: 64)]] {
        await #expect(throws: CommandRefusal.self, "\(names)") {
          try await test.authorities.issueServer(names: names, lifetime: 3600)
        }
      }
    }
  }

  @Test("a new authority takes over step by step: told, trusted, shown; then the old one's certificates are refused")
  func rotation() async throws {
    try await TestPlane.with { test async throws in
      let first = try await FakeAgent.join(test, "node-a")
      let second = try await FakeAgent.join(test, "node-b")
      let old = try await test.plane.authorities().fingerprints
      #expect(try await first.report(trusting: old).trust == nil)

      try await test.authorities.rotate()
      await #expect(throws: CommandRefusal.self) { try await test.authorities.rotate() }
      try await test.plane.stepAuthorities()
      let told = try #require(try await first.report(trusting: old).trust)
      let both = try await test.plane.authorities().fingerprints
      let anchors = try await test.authorities.anchors()
      #expect(both.count == 2 && told.authorities == anchors)
      #expect(try await first.report(trusting: both).renew == nil)
      try await age(test)
      #expect(try await test.authorities.status().rotation == .waitForTrust(nodes: ["node-b"]))
      try await test.plane.stepAuthorities()
      #expect(try await states(test) == [.active, .next])

      _ = try await second.report(trusting: both)
      try await test.plane.stepAuthorities()
      #expect(try await states(test) == [.retiring, .active])
      try await age(test)
      #expect(try await first.report(trusting: both).renew == true)
      // What it got is known when it is shown: an answer that is lost locks nobody out.
      let renewed = try await first.renewed()
      #expect(try await test.authorities.status().rotation == .waitForRenewal(nodes: ["node-a", "node-b"]))
      #expect(try await renewed.report(trusting: both).renew == nil)
      // A connection of before shows the old one once more.
      _ = try await first.report(trusting: both)
      #expect(try await test.authorities.status().rotation == .waitForRenewal(nodes: ["node-b"]))
      try await test.plane.stepAuthorities()
      #expect(try await states(test) == [.retiring, .active])

      let other = try await second.renewed()
      _ = try await other.report(trusting: both)
      try await test.plane.stepAuthorities()
      #expect(try await states(test) == [.retired, .active])
      #expect(try await first.send(report: FakeAgent.report()).code == "certificate_untrusted")
      let answer = try await renewed.report(trusting: both)
      #expect(answer.trust?.retired == old)
      #expect(
        try await test.database.one("SELECT 1 FROM authorities WHERE state = 'retired' AND sealed_key IS NOT NULL")
          == nil)
      #expect(try await test.findings() == [])
    }
  }

  @Test("force goes on without silent nodes; what another replica signs is the new authority's at once")
  func force() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test, "node-a")
      let replica = try test.replica()
      _ = try await replica.authorities()
      await #expect(throws: CommandRefusal.self) { try await test.authorities.force() }
      try await test.authorities.rotate()
      await #expect(throws: CommandRefusal.self) { try await test.authorities.force() }
      try await age(test)
      _ = try await test.authorities.force()
      #expect(try await states(test) == [.retiring, .active])
      // This plane has not looked since: it signs by what its transaction finds.
      let renewed = try await agent.renewed()
      try await test.plane.stepAuthorities()
      #expect(try await renewed.report(trusting: []).renew == nil)
      try await age(test)
      _ = try await test.authorities.force()
      try await test.plane.stepAuthorities()
      #expect(try await agent.send(report: FakeAgent.report()).code == "certificate_untrusted")
      #expect(try await renewed.send(report: FakeAgent.report()).status == 200)
    }
  }

  @Test("a connection that outlives its certificate is refused, and closed so that the next shows the newer one")
  func outlived() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test, "node-a")
      var environment = Environment.live
      environment.now = { Date().addingTimeInterval(CertificateAuthority.nodeLifetime + 1) }
      let later = try test.replica(environment: environment)
      let answer = await agent.send(.put, "node", bytes: try JSONCoder.encode(FakeAgent.report()), on: later)
      #expect(answer.status == 401 && answer.code == "certificate_expired")
      #expect(answer.header("connection") == "close")
    }
  }

  @Test("values sealed with an older key are sealed anew, and the older key can go")
  func reseal() async throws {
    try await TestPlane.with { test async throws in
      let (old, new) = (SealingKey.generate(), SealingKey.generate())
      try await test.database.execute("DELETE FROM authorities")
      _ = try await AuthorityCommands(database: test.database, sealing: try SealingKey(old)).prepare()
      let both = AuthorityCommands(database: test.database, sealing: try SealingKey("\(new)\n\(old)"))
      #expect(try await both.reseal().resealed == 1)
      #expect(try await both.reseal().resealed == 0)
      let replica = try test.replica(sealing: try SealingKey(new))
      #expect(try await replica.authorities().fingerprints.count == 1)
    }
  }
}
