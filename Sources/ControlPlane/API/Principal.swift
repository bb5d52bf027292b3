import AloftModel
import Foundation

/// Who makes a call, and what they may.
///
/// Access is decided here and nowhere else, from values that were read together. A project that the caller may not see is
/// answered like one that does not exist.
struct Principal: Sendable, Equatable {
  /// A project in which the caller has a role.
  struct Grant: Sendable, Equatable {
    var project: ProjectID
    var name: String
    var role: ProjectRole
  }

  /// What a call can be made with.
  enum Means: Sendable, Equatable {
    case token(APITokenID)
    case session(SessionID)
    /// What an issuer has signed about this user.
    case assertion(UserID)
  }

  /// What the call was made with; nil if the operation is open to all.
  var means: Means?
  var user: UserID?
  /// The user's.
  var userName = ""
  var userKind = UserKind.person
  /// When the token or the session ends; nil: it has no end.
  var expiresAt: Date?
  /// What only the holder of the token or session can compute, to seal stored answers with.
  var seal: [UInt8] = []
  /// What a page of ours can send with a change and a page of somebody else cannot; nil: it need not.
  var csrfToken: String?
  /// What the user may by what an issuer says, besides what the database gives them; it is part of ``cloudRole`` and ``grants``.
  var claimed = ClaimGrants()
  /// Nil where the token is for one project.
  var cloudRole: CloudRole?
  var grants: [Grant] = []
  /// The one project that the token is for, and the most that it may there.
  var limit: Grant?
  var home: ProjectID? { limit?.project }

  /// Nobody: the operation is open to all.
  static let anonymous = Principal()

  var token: APITokenID? { if case .token(let id) = means { id } else { nil } }
  var session: SessionID? { if case .session(let id) = means { id } else { nil } }

  /// As the audit shows it.
  var name: String {
    switch means {
    case .token(let id): "token:\(id.uuid.uuidString.lowercased())"
    case .session(let id): "session:\(id.uuid.uuidString.lowercased())"
    case .assertion(let id): "oidc:\(id.uuid.uuidString.lowercased())"
    case nil: "anonymous"
    }
  }

  /// Whose calls are counted together; nil: nobody's.
  var meterKey: UUID? {
    switch means {
    case .token(let id): id.uuid
    case .session(let id): id.uuid
    case .assertion(let id): id.uuid
    case nil: nil
    }
  }

  /// What a user may by a token or in a session.
  ///
  /// - Parameters:
  ///   - cloudRole: the user's.
  ///   - memberships: the user's.
  ///   - limit: the project that the token is for, and the most that it may there; nil: all that the user may.
  init(
    means: Means, user: UserID, userName: String, seal: [UInt8], cloudRole: CloudRole?,
    memberships: [Grant], limit: Grant?
  ) {
    (self.means, self.user, self.userName, self.seal) = (means, user, userName, seal)
    guard let limit else {
      (self.cloudRole, grants) = (cloudRole, memberships)
      return
    }
    self.limit = limit
    let own = memberships.first { $0.project == limit.project }?.role
    if let most = [own, cloudRole?.inEveryProject].compactMap({ $0 }).max() {
      grants = [Grant(project: limit.project, name: limit.name, role: min(most, limit.role))]
    }
  }

  private init() {}

  /// Adds what an issuer's claims give; `projects` are those of their names that there are.
  mutating func add(_ claimed: ClaimGrants, in projects: [(id: ProjectID, name: String)]) {
    self.claimed = claimed
    cloudRole = [cloudRole, claimed.cloudRole].compactMap(\.self).max(by: CloudRole.isSmaller)
    for (id, name) in projects {
      guard let role = claimed.projects[name] else { continue }
      if let index = grants.firstIndex(where: { $0.project == id }) {
        grants[index].role = max(grants[index].role, role)
      } else {
        grants.append(Grant(project: id, name: name, role: role))
      }
    }
  }

  enum Access: Equatable {
    case granted
    /// The caller may see the place, but not do that there.
    case refused
    /// For the caller there is no such project.
    case absent
  }

  /// Whether the caller may do what needs `permission`, in the project that `reference` names by id or name.
  func access(_ permission: Permission, project reference: String) -> Access {
    if cloudRole?.holds(permission) == true { return .granted }
    switch permission.scope {
    case .caller: return .granted
    case .cloud: return .refused
    case .project:
      if let grant = grant(in: reference) { return grant.role.holds(permission) ? .granted : .refused }
      return cloudRole?.holds(.projectRead) == true ? .refused : .absent
    }
  }

  /// The caller's own role in a project that is named by id or name.
  func grant(in reference: String) -> Grant? {
    let id = ProjectID(reference)
    return grants.first { id == nil ? $0.name == reference : $0.project == id }
  }

  /// The projects that the caller may see; nil for all.
  var visibleProjects: [ProjectID]? {
    cloudRole?.holds(.projectRead) == true ? nil : grants.filter { $0.role.holds(.projectRead) }.map(\.project)
  }
}
