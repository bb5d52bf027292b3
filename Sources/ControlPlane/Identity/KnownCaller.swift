import AloftModel
import Foundation
import Postgres

/// What the database knows of a token, a session or a user about whom an issuer has spoken: for whom it acts, what it allows, and why it is refused.
struct KnownCaller: Sendable {
  var principal: Principal
  var refusal: Problem?

  /// Columns about the user `a` and their memberships `m`; what follows them is the credential's own.
  static let userColumns: SQL = "a.id, a.name, a.kind, a.cloud_role, a.disabled, m.projects, m.names, m.roles"
  static let ownColumn = 8

  /// The memberships `m` of the user `a`, where `condition` holds for the row `m`.
  static func memberships(_ condition: SQL) -> SQL {
    """
    LATERAL (SELECT coalesce(array_agg(m.project_id ORDER BY q.name), '{}') AS projects,
                    coalesce(array_agg(q.name ORDER BY q.name), '{}') AS names,
                    coalesce(array_agg(m.role ORDER BY q.name), '{}') AS roles
               FROM project_members m JOIN projects q ON q.id = m.project_id
              WHERE m.user_id = a.id AND (\(fragment: condition))) m
    """
  }

  /// The token that meets `condition` on `t`, read together with all that decides about access.
  static func tokenQuery(_ condition: SQL, locking: SQL = "") -> SQL {
    """
    SELECT \(fragment: userColumns), t.id, t.expires_at, t.expires_at <= aloft_now(), t.project_id, p.name, t.project_role
      FROM api_tokens t JOIN users a ON a.id = t.user_id LEFT JOIN projects p ON p.id = t.project_id,
           \(fragment: memberships("t.project_id IS NULL OR m.project_id = t.project_id"))
     WHERE \(fragment: condition) \(fragment: locking)
    """
  }

  /// Reads a row of ``tokenQuery(_:locking:)``.
  init(token row: Row, seal: [UInt8]) throws {
    let column = Self.ownColumn
    var limit: Principal.Grant?
    if let project = try row.get(column + 3, as: ProjectID?.self), let name = try row.get(column + 4, as: String?.self)
    {
      let role = try row.get(column + 5, as: ProjectRole?.self) ?? .viewer
      limit = Principal.Grant(project: project, name: name, role: role)
    }
    principal = try Self.principal(row, means: .token(try row.get(column)), seal: seal, limit: limit)
    principal.expiresAt = try row.get(column + 1)
    if try row.get(column + 2, as: Bool?.self) == true, let end = principal.expiresAt {
      refusal = Problem(.tokenExpired, "the token expired at \(end.formatted(.iso8601)); ask for a new one")
    } else {
      refusal = try Self.refusalOfUser(row)
    }
  }

  /// The session that meets `condition` on `s`, and which of the projects there are that claims name.
  static func sessionQuery(_ condition: SQL, projects: [String], idleSeconds: Int?, locking: SQL = "") -> SQL {
    """
    SELECT \(fragment: userColumns), n.projects, n.names, s.id, s.expires_at, s.expires_at <= aloft_now(),
           s.last_used_at + make_interval(secs => \(idleSeconds.map(Double.init))) <= aloft_now(), s.issuer, s.claim_values
      FROM sessions s JOIN users a ON a.id = s.user_id, \(fragment: memberships("true")), \(fragment: named(projects))
     WHERE \(fragment: condition) \(fragment: locking)
    """
  }

  /// Reads a row of ``sessionQuery(_:projects:idleSeconds:locking:)``.
  ///
  /// - Parameter claimed: what an issuer's claims give; nil when nobody trusts the issuer any more.
  init(
    session row: Row, seal: [UInt8], csrfToken: String?, claimed: (String, [String]) throws -> ClaimGrants?
  ) throws {
    let column = Self.ownColumn + 2
    principal = try Self.principal(row, means: .session(try row.get(column)), seal: seal, limit: nil)
    principal.expiresAt = try row.get(column + 1)
    principal.csrfToken = csrfToken
    if let issuer = try row.get(column + 4, as: String?.self) {
      guard let claimed = try claimed(issuer, try row.get(column + 5)) else {
        refusal = Self.ended
        return
      }
      principal.add(claimed, in: try Self.namedProjects(row))
    }
    if try row.get(column + 2) {
      refusal = Problem(.sessionExpired, "the session has had its time; log in again: POST /v1/sessions")
    } else if try row.get(column + 3, as: Bool?.self) == true {
      refusal = Problem(.sessionExpired, "the session was not used for too long; log in again: POST /v1/sessions")
    } else {
      refusal = try Self.refusalOfUser(row)
    }
  }

  /// What the database knows of the user that `condition` finds as `a`, and of the projects that claims name.
  static func userQuery(_ condition: SQL, projects: [String]) -> SQL {
    """
    SELECT \(fragment: userColumns), n.projects, n.names
      FROM users a, \(fragment: memberships("true")), \(fragment: named(projects)) WHERE \(fragment: condition)
    """
  }

  /// Reads a row of ``userQuery(_:projects:)``.
  init(assertedBy row: Row, claimed: ClaimGrants, expiresAt: Date?, seal: [UInt8]) throws {
    principal = try Self.principal(row, means: .assertion(try row.get(0)), seal: seal, limit: nil)
    principal.expiresAt = expiresAt
    principal.add(claimed, in: try Self.namedProjects(row))
    refusal = try Self.refusalOfUser(row)
  }

  /// Which of these projects there are, as `n`.
  private static func named(_ projects: [String]) -> SQL {
    """
    LATERAL (SELECT coalesce(array_agg(q.id ORDER BY q.name), '{}') AS projects,
                    coalesce(array_agg(q.name ORDER BY q.name), '{}') AS names
               FROM projects q WHERE q.name = ANY(\(projects))) n
    """
  }

  private static func namedProjects(_ row: Row) throws -> [(id: ProjectID, name: String)] {
    let ids = try row.get(ownColumn, as: [UUID].self).map { ProjectID($0) }
    return zip(ids, try row.get(ownColumn + 1, as: [String].self)).map { ($0, $1) }
  }

  private static func principal(
    _ row: Row, means: Principal.Means, seal: [UInt8], limit: Principal.Grant?
  ) throws -> Principal {
    let (projects, names) = (try row.get(5, as: [UUID].self), try row.get(6, as: [String].self))
    let roles = try row.get(7, as: [String].self).map { ProjectRole(rawValue: $0) ?? .viewer }
    let memberships = zip(projects, zip(names, roles)).map { project, rest in
      Principal.Grant(project: ProjectID(project), name: rest.0, role: rest.1)
    }
    var principal = Principal(
      means: means, user: try row.get(0), userName: try row.get(1), seal: seal, cloudRole: try row.get(3),
      memberships: memberships, limit: limit)
    principal.userKind = try row.get(2)
    return principal
  }

  private static func refusalOfUser(_ row: Row) throws -> Problem? {
    guard try row.get(4) else { return nil }
    return disabled(try row.get(1))
  }

  /// What a token gets that is not known, whatever was the matter with it.
  static let unknown = Problem(.tokenInvalid, "the token is unknown or was revoked")
  /// The same for a session.
  static let ended = Problem(.sessionInvalid, "there is no such session, or it was ended; log in: POST /v1/sessions")

  static func disabled(_ name: String) -> Problem {
    Problem(.userDisabled, "the user \(name) is disabled; an administrator can enable it")
  }
}

extension Principal {
  /// The caller as the database knows it now; until the transaction ends its token or session stays. Its user's row is locked
  /// already.
  ///
  /// What a call was admitted by may be half a second old. Whoever hands on what they may must have it still: a token that
  /// was just revoked must leave no other behind.
  func confirmed(for permission: Permission, in session: Session) throws -> Principal {
    let principal = try reread(isLocking: true, in: session)
    try principal.require(permission, project: "")
    return principal
  }

  /// The caller as the database knows it now. Throws why it is refused.
  func reread(isLocking: Bool, in session: Session) throws -> Principal {
    let known: KnownCaller
    switch means {
    case .token(let id):
      let query = KnownCaller.tokenQuery("t.id = \(id)", locking: isLocking ? "FOR KEY SHARE OF t" : "")
      guard let row = try session.one(query) else { throw KnownCaller.unknown }
      known = try KnownCaller(token: row, seal: seal)
    case .session(let id):
      // Whether it is idle, and what the claims give, was judged when the call came.
      let query = KnownCaller.sessionQuery(
        "s.id = \(id)", projects: claimed.projects.keys.sorted(), idleSeconds: nil,
        locking: isLocking ? "FOR KEY SHARE OF s" : "")
      guard let row = try session.one(query) else { throw KnownCaller.ended }
      known = try KnownCaller(session: row, seal: seal, csrfToken: csrfToken) { _, _ in claimed }
    case .assertion(let id):
      let query = KnownCaller.userQuery("a.id = \(id)", projects: claimed.projects.keys.sorted())
      guard let row = try session.one(query) else { throw KnownCaller.unknown }
      known = try KnownCaller(assertedBy: row, claimed: claimed, expiresAt: expiresAt, seal: seal)
    case nil:
      throw KnownCaller.unknown
    }
    if let refusal = known.refusal { throw refusal }
    return known.principal
  }
}
