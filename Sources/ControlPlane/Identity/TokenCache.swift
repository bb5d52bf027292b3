import AloftModel
import Execution
import Foundation
import Postgres

/// Looks up API tokens with what they allow, and remembers them for a moment: what was revoked, has expired or was taken from
/// the user is felt within ``lifetime`` by every replica.
final class TokenCache: Sendable {
  static let lifetime = 0.5
  private static let mostEntries = 10_000

  fileprivate struct Entry {
    var principal: Principal
    /// Why it is refused.
    var refusal: Problem?
    var until: Date
  }

  private let entries = Lock<[[UInt8]: Entry]>([:])
  private let database: Database
  private let environment: Environment

  init(database: Database, environment: Environment) {
    self.database = database
    self.environment = environment
  }

  /// Who holds the token of an `Authorization` header. Throws a ``Problem`` that says what is wrong with it.
  ///
  /// - Parameter beforeLookup: called when the token is not remembered, so that the database would be asked; may throw.
  func authenticate(_ header: String?, beforeLookup: () throws -> Void = {}) async throws -> Principal {
    guard let header else {
      throw Problem(.unauthenticated, "send a token as Authorization: Bearer aloft_…")
    }
    let parts = header.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer" else {
      throw Problem(.unauthenticated, "the Authorization header is not of the form Bearer aloft_…")
    }
    let secret = String(parts[1].drop { $0 == " " || $0 == "\t" })
    let hash = Secret.hash(secret)
    let now = environment.now()
    let cached = entries.withLock { $0[hash] }
    let entry: Entry
    if let cached, cached.until > now {
      entry = cached
    } else {
      try beforeLookup()
      entry = try await load(hash, secret, now: now)
    }
    if let refusal = entry.refusal { throw refusal }
    return entry.principal
  }

  private func load(_ hash: [UInt8], _ secret: String, now: Date) async throws -> Entry {
    let row = try await database.query(
      """
      SELECT t.id, CASE WHEN t.expires_at <= aloft_now() THEN t.expires_at END, a.id, a.name, a.cloud_role, a.disabled,
             t.project_id, p.name, t.project_role, m.projects, m.names, m.roles
        FROM api_tokens t JOIN users a ON a.id = t.user_id LEFT JOIN projects p ON p.id = t.project_id,
             LATERAL (SELECT coalesce(array_agg(m.project_id), '{}') AS projects, coalesce(array_agg(q.name), '{}') AS names,
                             coalesce(array_agg(m.role), '{}') AS roles
                        FROM project_members m JOIN projects q ON q.id = m.project_id
                       WHERE m.user_id = a.id AND (t.project_id IS NULL OR m.project_id = t.project_id)) m
       WHERE t.secret_hash = \(hash)
      """
    ).first
    guard let row else { throw Problem(.tokenInvalid, "the token is unknown or was revoked") }
    let entry = try Entry(row, seal: Secret.hash("seal:" + secret), until: now.addingTimeInterval(Self.lifetime))
    entries.withLock { entries in
      if entries.count >= Self.mostEntries { entries = entries.filter { $0.value.until > now } }
      if entries.count < Self.mostEntries { entries[hash] = entry }
    }
    return entry
  }
}

extension TokenCache.Entry {
  init(_ row: Row, seal: [UInt8], until: Date) throws {
    let projects = try row.get(9, as: [UUID].self)
    let names = try row.get(10, as: [String].self)
    let roles = try row.get(11, as: [String].self).map { ProjectRole(rawValue: $0) ?? .viewer }
    let memberships = zip(projects, zip(names, roles)).map { project, rest in
      Principal.Grant(project: ProjectID(project), name: rest.0, role: rest.1)
    }
    var limit: Principal.Grant?
    if let project = try row.get(6, as: ProjectID?.self), let name = try row.get(7, as: String?.self) {
      limit = Principal.Grant(project: project, name: name, role: try row.get(8, as: ProjectRole?.self) ?? .viewer)
    }
    principal = Principal(
      token: try row.get(0), user: try row.get(2), userName: try row.get(3), seal: seal,
      cloudRole: try row.get(4), memberships: memberships, limit: limit)
    if let expired = try row.get(1, as: Date?.self) {
      refusal = Problem(.tokenExpired, "the token expired at \(expired.formatted(.iso8601)); ask for a new one")
    } else if try row.get(5) {
      refusal = Problem(.userDisabled, "the user \(principal.userName) is disabled; an administrator can enable it")
    }
    self.until = until
  }
}

/// Makes API tokens of the user `root`, which may do everything.
public enum APITokens {
  /// Stores a new admin token and returns its secret, which is kept nowhere.
  public static func create(
    description: String, expiresAfter: Duration?, in database: Database, environment: Environment = .live
  ) async throws -> String {
    let secret = Secret.tokenPrefix + environment.newSecret(words: 4)
    let seconds = expiresAfter.map { Double($0.components.seconds) }
    let id = environment.newUUID()
    _ = try await database.transaction { session in
      try session.execute(
        """
        INSERT INTO api_tokens (id, secret_hash, description, expires_at)
        VALUES (\(id), \(Secret.hash(secret)), \(description), aloft_now() + make_interval(secs => \(seconds)))
        """)
    }
    return secret
  }
}
