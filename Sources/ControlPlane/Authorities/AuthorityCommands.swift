import Foundation
import Glibc
import Postgres

/// What `aloftd` does with the cloud's authorities, beside what replicas do by themselves.
public struct AuthorityCommands: Sendable {
  /// Where the cloud's first authority came from.
  public enum Origin: Sendable { case there, made, imported }

  private let database: Database
  private let sealing: SealingKey
  private let environment: Environment

  public init(database: Database, sealing: SealingKey, environment: Environment = .live) {
    self.database = database
    self.sealing = sealing
    self.environment = environment
  }

  /// Whether the cloud has an authority.
  public func isPrepared() async throws -> Bool {
    try await database.run { session in
      try session.one("SELECT 1 FROM authorities WHERE state = 'active'") != nil
    }
  }

  /// Sees to it that the cloud has an authority: the one that it has, the one that is handed in, or a new one. Of several
  /// replicas at once, one brings it in.
  ///
  /// - Parameter importing: certificate and key in PEM, of a cloud from before authorities lay in the database.
  public func prepare(importing: (certificatePEM: String, privateKeyPEM: String)? = nil) async throws -> Origin {
    if try await isPrepared() { return .there }
    let made = try importing ?? create()
    let (id, certificate, sealed) = try seal(made)
    return try await database.transaction { session in
      try AuthorityStore.lockAll(in: session)
      if try session.one("SELECT 1 FROM authorities WHERE state = 'active'") != nil { return .there }
      try AuthorityStore.insert(id, certificate, sealedKey: sealed, state: .active, in: session)
      if importing != nil {
        // All certificates of before are this one's.
        try session.execute("UPDATE nodes SET certificate_authority = \(certificate.fingerprint)")
      }
      try AuthorityStore.record(importing == nil ? "createAuthority" : "importAuthority", in: session)
      return importing == nil ? .made : .imported
    }
  }

  /// All authorities, the oldest first, and where a rotation stands.
  public func status() async throws -> (authorities: [AuthorityRecord], rotation: AuthorityRotation.Answer) {
    try await database.run { session in
      (try AuthorityStore.all(in: session), try AuthorityStore.rotation(in: session).answer())
    }
  }

  /// What clients are to trust now, in PEM.
  public func anchors() async throws -> String {
    try await database.run { session in
      try AuthoritySet(try AuthorityStore.all(in: session), sealing: sealing).anchors.authorities
    }
  }

  /// A key and a certificate of the active authority for a server that is no part of Aloft but that nodes or clients talk to,
  /// such as OVN's southbound database.
  ///
  /// - Parameter names: DNS names and addresses of the server.
  /// - Parameter lifetime: in seconds; never longer than the authority's.
  public func issueServer(names: [String], lifetime: TimeInterval) async throws -> (
    certificatePEM: String, privateKeyPEM: String
  ) {
    guard !names.isEmpty, names.allSatisfy(Self.isServerName) else {
      throw CommandRefusal("a server's name is a DNS name or an address, such as ovn.example or 10.0.0.5")
    }
    let authorities = try await database.run { session in
      try AuthoritySet(try AuthorityStore.all(in: session), sealing: sealing)
    }
    return try authorities.signer.issueServer(names: names, now: environment.now(), lifetime: lifetime)
  }

  private static func isServerName(_ name: String) -> Bool {
    var address = in6_addr()
    if inet_pton(AF_INET6, name, &address) == 1 { return true }
    // An IPv4 address has the form of a DNS name.
    return name.utf8.count <= 253 && !name.hasPrefix("-")
      && name.wholeMatch(of: /[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63})*/) != nil
  }

  /// Publishes a new authority, which replaces the active one step by step. Throws a ``CommandRefusal`` while one is replaced
  /// already.
  public func rotate() async throws {
    let (id, certificate, sealed) = try seal(try create())
    try await database.transaction { session in
      try AuthorityStore.lockAll(in: session)
      let rotation = try AuthorityStore.rotation(in: session)
      guard rotation.members.contains(where: { $0.state == .active }) else {
        throw CommandRefusal("this cloud has no authority yet; aloftd ca init makes one")
      }
      guard rotation.members.count == 1 else {
        throw CommandRefusal("an authority is being replaced already: \(rotation.answer())")
      }
      try AuthorityStore.insert(id, certificate, sealedKey: sealed, state: .next, in: session)
      try AuthorityStore.record("publishAuthority", in: session)
    }
  }

  /// Takes the next step of a rotation whatever nodes are waited for: those will have to join again. Throws a
  /// ``CommandRefusal`` when there is none to take.
  public func force() async throws -> AuthorityRotation.Answer {
    try await database.transaction { session in
      let answer = try Authorities.advance(forced: true, in: session)
      guard case .take = answer else { throw CommandRefusal("there is no step to take: \(answer)") }
      return answer
    }
  }

  /// Seals anew what the newest sealing key did not seal.
  public func reseal() async throws -> Resealing.Outcome {
    try await database.transaction { session in
      try AuthorityStore.lockAll(in: session)
      var outcome = Resealing.Outcome()
      for record in try AuthorityStore.all(in: session) {
        guard let sealed = record.sealedKey, !sealing.isCurrent(sealed) else { continue }
        guard let key = try? sealing.open(sealed, for: .authorityKey, of: record.fingerprint) else {
          outcome.unreadable += 1
          continue
        }
        let anew = try sealing.seal(key, for: .authorityKey, of: record.fingerprint)
        try session.execute("UPDATE authorities SET sealed_key = \(anew) WHERE id = \(record.id)")
        outcome.resealed += 1
      }
      return outcome
    }
  }

  /// Each has a name of its own: OpenSSL looks authorities up by their names.
  private func create() throws -> (certificatePEM: String, privateKeyPEM: String) {
    try CertificateAuthority.create(name: "Aloft " + environment.newSecret(words: 1), now: environment.now())
  }

  private func seal(_ made: (certificatePEM: String, privateKeyPEM: String)) throws -> (
    id: UUID, certificate: AuthorityCertificate, sealed: [UInt8]
  ) {
    let authority = try CertificateAuthority(certificatePEM: made.certificatePEM, privateKeyPEM: made.privateKeyPEM)
    let fingerprint = authority.certificate.fingerprint
    return (
      environment.newUUID(), authority.certificate,
      try sealing.seal(Array(made.privateKeyPEM.utf8), for: .authorityKey, of: fingerprint)
    )
  }
}
