import Foundation
import Postgres

/// An authority as the database holds it.
public struct AuthorityRecord: Sendable {
  public var id: UUID
  /// SHA-256 of the certificate in DER, in lower-case hexadecimal.
  public var fingerprint: String
  public var certificatePEM: String
  public var state: AuthorityState
  public var notAfter: Date
  public var since: Date
  /// Nil when it is retired.
  let sealedKey: [UInt8]?

  static let columns: SQL = "a.id, a.fingerprint, a.certificate, a.state, a.not_after, a.state_since, a.sealed_key"

  init(_ row: Row) throws {
    id = try row.get(0)
    fingerprint = try row.get(1)
    certificatePEM = try row.get(2)
    let word: String = try row.get(3)
    guard let state = AuthorityState(rawValue: word) else { throw CommandRefusal("an authority is \(word)") }
    self.state = state
    notAfter = try row.get(4)
    since = try row.get(5)
    sealedKey = try row.get(6)
  }
}

/// The rows of `authorities`, and what of `nodes` decides about them.
enum AuthorityStore {
  /// All of them, the oldest first.
  static func all(in session: Session) throws -> [AuthorityRecord] {
    try session.query("SELECT \(fragment: AuthorityRecord.columns) FROM authorities a ORDER BY a.id").map {
      try AuthorityRecord($0)
    }
  }

  /// One transaction at a time changes authorities; others go on reading and signing.
  static func lockAll(in session: Session) throws {
    try session.execute("LOCK TABLE authorities IN SHARE ROW EXCLUSIVE MODE")
  }

  static func insert(
    _ id: UUID, _ authority: AuthorityCertificate, sealedKey: [UInt8], state: AuthorityState, in session: Session
  ) throws {
    try session.execute(
      """
      INSERT INTO authorities (id, fingerprint, certificate, sealed_key, state, not_after)
      VALUES (\(id), \(authority.fingerprint), \(authority.pem), \(sealedKey), \(state.rawValue),
              \(authority.notAfter))
      """)
  }

  /// The facts that the rotation is decided by; all but the certificates' ends are of the database.
  static func rotation(in session: Session) throws -> AuthorityRotation {
    let results = try session.pipeline([
      "SELECT aloft_now()",
      "SELECT \(fragment: AuthorityRecord.columns) FROM authorities a WHERE a.state <> 'retired' ORDER BY a.id",
      """
      SELECT n.name FROM nodes n JOIN authorities a ON a.state = 'next'
       WHERE \(fragment: hasGoodCertificate) AND a.fingerprint <> ALL(n.trusted_authorities) ORDER BY n.name
      """,
      """
      SELECT n.name FROM nodes n JOIN authorities a ON a.state = 'active'
       WHERE \(fragment: hasGoodCertificate) AND n.certificate_authority IS DISTINCT FROM a.fingerprint ORDER BY n.name
      """,
    ])
    guard let now = try results[0].first?.get(0, as: Date.self) else { throw CommandRefusal("there is no clock") }
    return AuthorityRotation(
      now: now,
      members: try results[1].map {
        let record = try AuthorityRecord($0)
        return .init(id: record.id, state: record.state, since: record.since, notAfter: record.notAfter)
      },
      untrusting: try results[2].map { try $0.get(0) }, unrenewed: try results[3].map { try $0.get(0) })
  }

  /// Some minutes more, because replicas' clocks judge certificates, and they differ.
  private static let hasGoodCertificate: SQL = "n.certificate_expires_at > aloft_now() - interval '5 minutes'"

  static func take(_ step: AuthorityRotation.Step, in session: Session) throws {
    switch step {
    case .activate(let next, let active):
      try move(active, to: .retiring, in: session)
      try move(next, to: .active, in: session)
      try record("activateAuthority", in: session)
    case .retire(let id):
      try move(id, to: .retired, in: session)
      try record("retireAuthority", in: session)
    }
  }

  private static func move(_ id: UUID, to state: AuthorityState, in session: Session) throws {
    try session.execute(
      """
      UPDATE authorities SET state = \(state.rawValue), state_since = aloft_now(),
                             sealed_key = CASE WHEN \(state.rawValue)::text <> 'retired' THEN sealed_key END
       WHERE id = \(id)
      """)
  }

  static func record(_ operation: String, in session: Session) throws {
    try session.execute(
      "INSERT INTO audit (actor, peer, request_id, operation) VALUES ('aloftd', 'local', '', \(operation))")
  }

  /// Whether the row of `nodes` says already what a report shows, which is so but for a few in a week.
  static func isKnown(_ caller: NodeCaller, trusted: [String]?) -> SQL {
    """
    coalesce(certificate_authority = \(caller.authority) AND certificate_expires_at = \(caller.notAfter)
             AND trusted_authorities = coalesce(\(trusted)::text[], trusted_authorities), false)
    """
  }

  /// Remembers which certificate a node has shown, if it is a newer one, and whom its agent trusts. Tells nobody: nothing that
  /// operators set has changed.
  static func shown(_ caller: NodeCaller, isActive: Bool, trusted: [String]?, in session: Session) throws {
    // Of two that end in the same second the active authority's is the newer one.
    let isNewer: SQL = """
      (certificate_authority IS NULL OR certificate_expires_at < \(caller.notAfter)
       OR (\(isActive) AND certificate_expires_at = \(caller.notAfter) AND certificate_authority <> \(caller.authority)))
      """
    try session.execute(
      """
      UPDATE nodes SET
          certificate_authority =
            CASE WHEN \(fragment: isNewer) THEN \(caller.authority)::text ELSE certificate_authority END,
          certificate_expires_at =
            CASE WHEN \(fragment: isNewer) THEN \(caller.notAfter)::timestamptz ELSE certificate_expires_at END,
          trusted_authorities = coalesce(\(trusted)::text[], trusted_authorities)
       WHERE id = \(caller.node)
         AND (\(fragment: isNewer) OR trusted_authorities IS DISTINCT FROM coalesce(\(trusted)::text[], trusted_authorities))
      """)
  }
}
