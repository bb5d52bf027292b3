import AloftModel
import Foundation
import JSON
import Postgres

/// A session as the API shows it.
struct SessionRecord: Sendable, JSONWritable {
  var id: SessionID
  var userID: UserID
  var user: String
  var peer: String
  var issuer: String?
  var createdAt: Date
  var lastUsedAt: Date
  var expiresAt: Date
  /// Only for who is in the session.
  var csrfToken: String?

  static let columns: SQL =
    "s.id, s.user_id, a.name, s.peer, s.issuer, s.created_at, s.last_used_at, s.expires_at"

  init(_ row: Row) throws {
    id = try row.get(0)
    userID = try row.get(1)
    user = try row.get(2)
    peer = try row.get(3)
    issuer = try row.get(4)
    createdAt = try row.get(5)
    lastUsedAt = try row.get(6)
    expiresAt = try row.get(7)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("user_id", userID)
      writer.field("user", user)
      writer.field("peer", peer)
      writer.field("issuer", issuer)
      writer.field("created_at", createdAt)
      writer.field("last_used_at", lastUsedAt)
      writer.field("expires_at", expiresAt)
      writer.fieldIfPresent("csrf_token", csrfToken)
    }
  }
}

/// The rows of `sessions` and `login_sites`.
enum SessionStore {
  /// How many a user may have; one more ends the one that was used the longest ago.
  static let mostOfOneUser = 20
  /// From how many sites it is remembered that a user came, and for how long.
  static let mostSites = 20
  static let siteDays = 90

  /// Who is to have a session, and by what.
  struct Login: Sendable {
    var user: UserID
    var peer: String
    var issuer: String?
    var claimValues: [String] = []
  }

  /// Makes a session. The caller has locked the user.
  static func insert(
    _ id: SessionID, secret: String, _ login: Login, seconds: Int, in session: Session
  ) throws -> SessionRecord {
    let user = login.user
    try session.execute(
      """
      DELETE FROM sessions WHERE id IN (
        SELECT id FROM sessions WHERE user_id = \(user) ORDER BY last_used_at DESC, id DESC OFFSET \(mostOfOneUser - 1))
      """)
    try session.execute(
      """
      INSERT INTO sessions (id, user_id, secret_hash, peer, issuer, claim_values, expires_at)
      VALUES (\(id), \(user), \(Secret.hash(secret)), \(login.peer), \(login.issuer), \(login.claimValues),
              aloft_now() + make_interval(secs => \(Double(seconds))))
      """)
    try remember(site: RateLimiter.site(login.peer), of: user, in: session)
    guard let record = try find(id, in: session) else { throw KnownCaller.ended }
    return record
  }

  private static func remember(site: String, of user: UserID, in session: Session) throws {
    try session.execute(
      """
      INSERT INTO login_sites (user_id, site) VALUES (\(user), \(site))
      ON CONFLICT (user_id, site) DO UPDATE SET at = aloft_now()
      """)
    try session.execute(
      """
      DELETE FROM login_sites WHERE user_id = \(user) AND site IN (
        SELECT site FROM login_sites WHERE user_id = \(user) ORDER BY at DESC OFFSET \(mostSites))
      """)
  }

  static func find(_ id: SessionID, in session: Session) throws -> SessionRecord? {
    try session.one(
      """
      SELECT \(fragment: SessionRecord.columns) FROM sessions s JOIN users a ON a.id = s.user_id WHERE s.id = \(id)
      """
    ).map { try SessionRecord($0) }
  }

  /// Those of a user that are still good.
  static func page(
    of user: UserID, idleSeconds: Int, after: UUID?, limit: Int, in session: Session
  ) throws -> [SessionRecord] {
    try session.query(
      """
      SELECT \(fragment: SessionRecord.columns) FROM sessions s JOIN users a ON a.id = s.user_id
       WHERE s.user_id = \(user) AND s.expires_at > aloft_now()
         AND s.last_used_at + make_interval(secs => \(Double(idleSeconds))) > aloft_now()
         AND (\(after)::uuid IS NULL OR s.id > \(after)) ORDER BY s.id LIMIT \(limit)
      """
    ).map { try SessionRecord($0) }
  }

  static func end(_ id: SessionID, in session: Session) throws {
    try session.execute("DELETE FROM sessions WHERE id = \(id)")
  }

  /// Ends all that a user has.
  static func endAll(of user: UserID, in session: Session) throws {
    try session.execute("DELETE FROM sessions WHERE user_id = \(user)")
  }

  /// Removes what has ended. Returns how many.
  static func expire(idleSeconds: Int, atMost limit: Int, in session: Session) throws -> Int {
    try session.execute(
      """
      DELETE FROM sessions WHERE id IN (
        SELECT id FROM sessions
         WHERE expires_at <= aloft_now() OR last_used_at + make_interval(secs => \(Double(idleSeconds))) <= aloft_now()
         ORDER BY id LIMIT \(limit) FOR UPDATE SKIP LOCKED)
      """)
  }

  /// Forgets from where somebody came long ago. Returns how many.
  static func expireSites(atMost limit: Int, in session: Session) throws -> Int {
    try session.execute(
      """
      DELETE FROM login_sites WHERE (user_id, site) IN (
        SELECT user_id, site FROM login_sites WHERE at < aloft_now() - make_interval(days => \(siteDays))
         ORDER BY at LIMIT \(limit) FOR UPDATE SKIP LOCKED)
      """)
  }
}
