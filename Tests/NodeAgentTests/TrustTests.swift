import AloftModel
import Crypto
import Foundation
import SwiftASN1
import Testing
import X509

@testable import NodeAgent

/// Whom an agent trusts, as the control plane's authorities are replaced.
@Suite("Trust")
struct TrustTests {
  let directory: TemporaryDirectory
  let store: IdentityStore

  init() throws {
    directory = try TemporaryDirectory()
    store = IdentityStore(data: directory.path)
    try FileSystem.makeFolder(directory.path + "/identity", mode: 0o700)
  }

  /// A certificate of an authority, and its fingerprint.
  private func authority(_ name: String) throws -> (pem: String, fingerprint: String) {
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let subject = try DistinguishedName { CommonName(name) }
    let certificate = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: key.publicKey, notValidBefore: Date(), notValidAfter: Date() + 60,
      issuer: subject, subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions { Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0)) },
      issuerPrivateKey: key)
    let document = try certificate.serializeAsPEM()
    let digest = SHA256.hash(data: document.derBytes).map { String(format: "%02x", $0) }.joined()
    return (document.pemString, digest)
  }

  private func trusted(by file: String) throws -> Set<String> {
    let text = String(decoding: try FileSystem.readAll(file), as: UTF8.self)
    return Set(
      try PEMDocument.parseMultiple(pemString: text).map {
        SHA256.hash(data: $0.derBytes).map { String(format: "%02x", $0) }.joined()
      })
  }

  @Test(
    "the operator's file holds until the control plane tells; then what it tells is added, and what it retired is not there"
  )
  func files() async throws {
    let (old, new, other) = (try authority("old"), try authority("new"), try authority("other"))
    let base = directory.path + "/ca.crt"
    try (old.pem + "\n" + other.pem + "\n").write(toFile: base, atomically: true, encoding: .utf8)
    #expect(try await store.trustFile(base: base) == base)
    #expect(try await store.trusted() == [])

    try await store.keep(TrustAnchors(authorities: old.pem + "\n" + new.pem + "\n", retired: []))
    #expect(try await store.trusted() == [old.fingerprint, new.fingerprint].sorted())
    let both = try trusted(by: try await store.trustFile(base: base))
    #expect(both == [old.fingerprint, new.fingerprint, other.fingerprint])

    // Another process, and a file of the operator's that is still the old one.
    try await store.keep(TrustAnchors(authorities: new.pem + "\n", retired: [old.fingerprint]))
    let later = IdentityStore(data: directory.path)
    #expect(try await later.trusted() == [new.fingerprint])
    #expect(try trusted(by: try await later.trustFile(base: base)) == [new.fingerprint, other.fingerprint])
  }

  @Test("what names nobody to trust, or cannot be read, changes nothing")
  func nonsense() async throws {
    let good = try authority("good")
    try await store.keep(TrustAnchors(authorities: good.pem + "\n", retired: []))
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAA\n"] {
      await #expect(throws: AgentFailure.self, "\(text)") {
        try await store.keep(TrustAnchors(authorities: text, retired: [good.fingerprint]))
      }
    }
    #expect(try await store.trusted() == [good.fingerprint])
  }

  @Test("asked for a new certificate the machine renews at once, once, and again only if it is asked again")
  func askedToRenew() throws {
    var machine = AgentMachine(
      now: AgentTime(uptime: 0, wall: 0), seed: 1, identity: CertificateValidity(notBefore: 0, notAfter: 1 << 40))
    func renews(_ event: AgentEvent, at uptime: Int) -> Bool {
      machine.handle(event, now: AgentTime(uptime: uptime, wall: uptime)).contains(.renewIdentity)
    }
    #expect(!renews(.wake, at: 0))
    #expect(!renews(.heartbeatAnswered(.success(LeaseAnswer(leaseSeconds: 20))), at: 10))
    #expect(renews(.heartbeatAnswered(.success(LeaseAnswer(leaseSeconds: 20, renew: true))), at: 20))
    #expect(!renews(.heartbeatAnswered(.success(LeaseAnswer(leaseSeconds: 20, renew: true))), at: 30))
    let validity = CertificateValidity(notBefore: 40, notAfter: 1 << 40)
    #expect(!renews(.renewed(.success(validity)), at: 40))
    #expect(!renews(.wake, at: 200_000))
    #expect(renews(.heartbeatAnswered(.success(LeaseAnswer(leaseSeconds: 20, renew: true))), at: 200_010))
    #expect(!renews(.renewed(.failure(AgentFailure(.controlPlaneUnavailable, "no"))), at: 200_020))
    #expect(renews(.wake, at: 400_000))
  }

  @Test(
    "with a clock five minutes fast or slow a certificate is good when it comes, and is renewed while it is",
    arguments: [-300_000, 300_000])
  func clocks(_ offset: Int) throws {
    // As the control plane issues it at its own time: five minutes back, seven days on.
    let issued = 1_000_000_000
    let validity = CertificateValidity(notBefore: issued - 300_000, notAfter: issued + 7 * 86_400_000)
    #expect(validity.notBefore <= issued + offset)
    // Judged by the control plane's clock, the renewal comes days before the end.
    let renewedAt = validity.renewAt - offset
    #expect(renewedAt > issued && renewedAt < validity.notAfter - 2 * 86_400_000)
  }
}
