import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on the members of projects.
///
/// Invariants:
/// - Changes of one project's members happen one after the other, and each is judged by the roles that the one before it left:
///   an admin who was removed a moment ago cannot come back by what a replica remembers of the token.
/// - Nobody but an admin of the cloud leaves a project without an admin who can act.
struct MemberHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listMembers", list)
    table.on("getMember", get)
    table.on("setMember", set)
    table.on("removeMember", remove)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      try MemberStore.page(
        project: try ProjectStore.require(call, in: session), after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.userID.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let user = call.string("user") ?? ""
    let record = try await plane.database.run { session in
      try MemberStore.find(user, project: try ProjectStore.require(call, in: session), in: session)
    }
    guard let record else { throw Self.absent(user) }
    return .json(record, etag: record.etag)
  }

  private struct SetBody: Decodable { var role: ProjectRole }

  private func set(_ call: Call) async throws -> Reply {
    let role = try call.decode(SetBody.self).role
    return try await plane.change(call) { session in
      let project = try ProjectStore.lock(call, to: .members, in: session)
      let caller = try Self.callerNow(call, project, in: session)
      let user = try MemberStore.keepUser(call.string("user") ?? "", in: session)
      let member = try MemberStore.find(user.description, project: project.id, in: session)
      if let member {
        try call.requireMatch(member.etag)
        // Who has the role already is left alone: there is nothing to tell anybody.
        if member.role != role {
          if member.role == .admin { try requireOtherAdmin(than: member, project, caller, in: session) }
          try MemberStore.update(user, project: project.id, role: role, in: session)
        }
      } else {
        try call.requireNoMatch("the user is no member now")
        try MemberStore.insert(user, project: project.id, role: role, in: session)
      }
      guard let after = try MemberStore.find(user.description, project: project.id, in: session) else {
        throw Self.absent(user.description)
      }
      let isNew = member == nil
      if member?.role != role {
        try EventStore.append(
          isNew ? .memberAdded : .memberUpdated, project: project.id, resource: user.uuid,
          data: ["name": after.userName, "role": role.rawValue], in: session)
      }
      var reply = Reply.json(after, status: isNew && !call.isDryRun ? .created : .ok, etag: after.etag)
      if isNew { reply.headers[.location] = "/v1/projects/\(project.id)/members/\(user)" }
      return Changed(reply: reply, effects: Effects(wake: [.events]), resource: user.uuid, project: project.id)
    }
  }

  private func remove(_ call: Call) async throws -> Reply {
    try await plane.change(call) { session in
      let reference = call.string("user") ?? ""
      let project = try ProjectStore.lock(call, to: .members, in: session)
      let caller = try Self.callerNow(call, project, in: session)
      guard let member = try MemberStore.find(reference, project: project.id, in: session) else {
        throw Self.absent(reference)
      }
      try call.requireMatch(member.etag)
      if member.role == .admin { try requireOtherAdmin(than: member, project, caller, in: session) }
      try MemberStore.delete(member.userID, project: project.id, in: session)
      try EventStore.append(
        .memberRemoved, project: project.id, resource: member.userID.uuid, data: ["name": member.userName], in: session)
      return Changed(
        reply: .noContent, effects: Effects(wake: [.events]), resource: member.userID.uuid, project: project.id)
    }
  }

  /// The caller with the roles that it has now that the project is locked. Throws when they are not enough any more.
  private static func callerNow(_ call: Call, _ project: ProjectRecord, in session: Session) throws -> Principal {
    let caller = try call.principal.reread(isLocking: false, in: session)
    try caller.require(.memberWrite, project: project.id.description)
    return caller
  }

  private func requireOtherAdmin(
    than member: MemberRecord, _ project: ProjectRecord, _ caller: Principal, in session: Session
  ) throws {
    if caller.cloudRole == .admin { return }
    if try MemberStore.hasOtherAdmin(than: member.userID, project: project.id, in: session) { return }
    throw Problem(
      .lastAdmin,
      "\(member.userName) is the last admin of project \(project.name); make somebody else admin first, or ask an admin of the cloud"
    )
  }

  /// Told of users who do not exist, too.
  private static func absent(_ user: String) -> Problem {
    Problem(.notFound, "\(user) is no member of this project; GET its members lists them")
  }
}
