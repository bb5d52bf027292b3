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
    let project = principal.projectReference(requirement.project)
    switch principal.access(requirement.permission, project: project) {
    case .granted: return principal
    case .refused:
      let place = requirement.permission.scope == .project ? " in project \(project)" : ""
      throw Problem(
        .forbidden, "this needs the permission \(requirement.permission.rawValue)\(place), which the token has not")
    case .absent: throw ProjectStore.absent(project)
    }
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
  func projectReference(_ named: String?) -> String { named ?? home?.description ?? "default" }
}
