import AloftModel
import Foundation
import Postgres

/// What the database knows of a token: for whom it acts, what it allows, and why it is refused.
struct KnownToken: Sendable {
  var principal: Principal
  var refusal: Problem?

  /// The token that meets `condition` on `t`, read together with all that decides about access.
  static func query(_ condition: SQL, locking: SQL = "") -> SQL {
    """
    SELECT t.id, t.expires_at, t.expires_at <= aloft_now(), a.id, a.name, a.kind, a.cloud_role, a.disabled,
           t.project_id, p.name, t.project_role, m.projects, m.names, m.roles
      FROM api_tokens t JOIN users a ON a.id = t.user_id LEFT JOIN projects p ON p.id = t.project_id,
           LATERAL (SELECT coalesce(array_agg(m.project_id ORDER BY q.name), '{}') AS projects,
                           coalesce(array_agg(q.name ORDER BY q.name), '{}') AS names,
                           coalesce(array_agg(m.role ORDER BY q.name), '{}') AS roles
                      FROM project_members m JOIN projects q ON q.id = m.project_id
                     WHERE m.user_id = a.id AND (t.project_id IS NULL OR m.project_id = t.project_id)) m
     WHERE \(fragment: condition) \(fragment: locking)
    """
  }

  init(_ row: Row, seal: [UInt8]) throws {
    let projects = try row.get(11, as: [UUID].self)
    let names = try row.get(12, as: [String].self)
    let roles = try row.get(13, as: [String].self).map { ProjectRole(rawValue: $0) ?? .viewer }
    let memberships = zip(projects, zip(names, roles)).map { project, rest in
      Principal.Grant(project: ProjectID(project), name: rest.0, role: rest.1)
    }
    var limit: Principal.Grant?
    if let project = try row.get(8, as: ProjectID?.self), let name = try row.get(9, as: String?.self) {
      limit = Principal.Grant(project: project, name: name, role: try row.get(10, as: ProjectRole?.self) ?? .viewer)
    }
    principal = Principal(
      token: try row.get(0), user: try row.get(3), userName: try row.get(4), seal: seal, cloudRole: try row.get(6),
      memberships: memberships, limit: limit)
    principal.userKind = try row.get(5)
    principal.expiresAt = try row.get(1)
    if try row.get(2, as: Bool?.self) == true, let end = principal.expiresAt {
      refusal = Problem(.tokenExpired, "the token expired at \(end.formatted(.iso8601)); ask for a new one")
    } else if try row.get(7) {
      refusal = Problem(.userDisabled, "the user \(principal.userName) is disabled; an administrator can enable it")
    }
  }

  /// What a token gets that is not known, whatever was the matter with it.
  static let unknown = Problem(.tokenInvalid, "the token is unknown or was revoked")
}

extension Principal {
  /// The caller as the database knows it now; until the transaction ends its token stays. Its user's row is locked already.
  ///
  /// What a call was admitted by may be half a second old. Whoever hands on what they may must have it still: a token that
  /// was just revoked must leave no other behind.
  func confirmed(for permission: Permission, in session: Session) throws -> Principal {
    guard let token else { throw KnownToken.unknown }
    let row = try session.one(KnownToken.query("t.id = \(token)", locking: "FOR KEY SHARE OF t"))
    guard let known = try row.map({ try KnownToken($0, seal: seal) }) else { throw KnownToken.unknown }
    if let refusal = known.refusal { throw refusal }
    try known.principal.require(permission, project: "")
    return known.principal
  }
}
