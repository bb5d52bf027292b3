import AloftModel
import class Contract.Operation
import Foundation

/// Decides whether a call may go on, before anything else of it is looked at.
struct Authorizer: Sendable {
  let tokens: TokenCache

  /// What a call has to show.
  struct Requirement: Sendable {
    let permission: Permission
    /// The `Authorization` header.
    let credentials: String?
    /// The project that the call names; nil: it names none.
    let project: String?
  }

  /// Who calls. Throws the ``Problem`` that says why they may not.
  func admit(_ requirement: Requirement) async throws -> Principal {
    let principal = try await tokens.authenticate(requirement.credentials)
    try principal.require(requirement.permission, project: principal.projectReference(requirement.project))
    return principal
  }

  /// The permission that an operation declares. Throws what stops the start: an operation whose place nobody could tell.
  static func permission(of operation: Operation) throws -> Permission? {
    if operation.security.isEmpty { return nil }
    guard let text = operation.extensions["x-aloft-permission"]?.stringValue,
      let permission = Permission(rawValue: text)
    else { throw StartFailure("operation \(operation.id) names no permission of the closed list") }
    guard permission.scope != .project || operation.parameters.contains(where: { $0.name == "project" }) else {
      throw StartFailure("operation \(operation.id) needs \(text) in a project and has no parameter project")
    }
    return permission
  }
}

extension Principal {
  /// The project that a call is about: the one it names, else the token's own, else `default`.
  ///
  /// Where it is the caller's role in that project that counts, the answer is its id: since the roles were read, the name may
  /// have gone to another project.
  func projectReference(_ named: String?) -> String {
    let reference = named ?? home?.description ?? "default"
    return grant(in: reference)?.project.description ?? reference
  }

  /// Throws the ``Problem`` that says why the caller may not do what needs `permission` there.
  func require(_ permission: Permission, project: String) throws {
    switch access(permission, project: project) {
    case .granted: return
    case .refused:
      let place = permission.scope == .project ? " in project \(grant(in: project)?.name ?? project)" : ""
      throw Problem(.forbidden, "this needs the permission \(permission.rawValue)\(place), which the token has not")
    case .absent: throw ProjectStore.absent(project)
    }
  }
}
