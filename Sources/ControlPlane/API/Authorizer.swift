import AloftModel
import class Contract.Operation
import Foundation

/// Whether callers have to show what an operation asks for. Always, but in the benchmark that measures what that costs.
package enum Admission: Sendable {
  case asDeclared
  case everybody
}

/// Decides whether a call may go on, before anything else of it is looked at.
struct Authorizer: Sendable {
  let tokens: TokenCache
  let rates: RateLimiter
  let admission: Admission

  /// What a call has to show.
  struct Requirement: Sendable {
    let permission: Permission
    let credentials: Credentials
    /// The project that the call names; nil: it names none.
    let project: String?
  }

  /// Who calls from `address`. Throws a ``Problem`` that says what is wrong with the token, and ``RateLimited``.
  func identify(_ requirement: Requirement, from address: String) async throws -> Principal {
    do {
      return try await tokens.authenticate(requirement.credentials) { try rates.admit(address) }
    } catch let problem as Problem where [.tokenInvalid, .sessionInvalid].contains(problem.code) {
      rates.failed(address)
      throw problem
    }
  }

  /// Who calls, without counting the call: also for one that goes on for long and is looked at again. Throws the ``Problem``
  /// that says why they may not, or not any more.
  @discardableResult
  func admit(_ requirement: Requirement) async throws -> Principal {
    let principal = try await tokens.authenticate(requirement.credentials, isFirst: false)
    try principal.require(requirement)
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
  /// Throws the ``Problem`` that says why the caller may not do this.
  func require(_ requirement: Authorizer.Requirement) throws {
    try require(requirement.permission, project: projectReference(requirement.project))
  }

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
