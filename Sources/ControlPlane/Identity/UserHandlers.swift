import AloftModel
import Execution
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on users.
///
/// Invariants:
/// - The cloud keeps at least one enabled user with the role `admin`.
/// - `root` stays, so that `aloftd token create` has somebody to make tokens for.
struct UserHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listUsers", list)
    table.on("createUser", create)
    table.on("getUser", get)
    table.on("updateUser", update)
    table.on("deleteUser", delete)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      try UserStore.page(after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let reference = call.string("user") ?? ""
    let record = try await plane.database.run { session in try UserStore.find(reference, in: session) }
    guard let record else { throw UserStore.absent(reference) }
    return .json(record, etag: record.etag)
  }

  private struct CreateBody: Decodable {
    var name: String
    var kind: UserKind?
    var cloudRole: CloudRole?
    var disabled: Bool?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let id = UserID(plane.environment.newUUID())
    return try await plane.change(call) { session in
      try begin(call, in: session)
      try UserStore.insert(
        id, name: body.name, kind: body.kind ?? .person, cloudRole: body.cloudRole, disabled: body.disabled ?? false,
        in: session)
      guard let user = try UserStore.find(id.description, in: session) else { throw UserStore.absent(body.name) }
      var reply = Reply.json(user, status: call.isDryRun ? .ok : .created, etag: user.etag)
      reply.headers[.location] = "/v1/users/\(id)"
      return try Self.changed(user, .userCreated, reply, in: session)
    }
  }

  private struct UpdateBody: Decodable {
    var name: String?
    var cloudRole: CloudRole?
    var disabled: Bool?
  }

  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    // Null takes the role away; a body that does not say lets it stay.
    let setsRole = call.body?["cloud_role"] != nil
    let (reply, user) = try await change(call) { user, session in
      if user.id == UserRecord.root, let name = body.name, name != user.name { throw Self.rootStays }
      var wanted = user
      wanted.name = body.name ?? user.name
      if setsRole { wanted.cloudRole = body.cloudRole }
      wanted.disabled = body.disabled ?? user.disabled
      try UserStore.update(wanted, in: session)
      if wanted.disabled { try SessionStore.endAll(of: user.id, in: session) }
      guard let after = try UserStore.find(user.id.description, in: session) else {
        throw UserStore.absent(user.name)
      }
      return try Self.changed(after, .userUpdated, .json(after, etag: after.etag), in: session)
    }
    if !call.isDryRun, let user { plane.authorizer.tokens.forget(user) }
    return reply
  }

  private func delete(_ call: Call) async throws -> Reply {
    let (reply, user) = try await change(call) { user, session in
      guard user.id != UserRecord.root else { throw Self.rootStays }
      try UserStore.delete(user.id, in: session)
      return try Self.changed(user, .userDeleted, .noContent, in: session)
    }
    if !call.isDryRun, let user { plane.authorizer.tokens.forget(user) }
    return reply
  }

  /// Changes the user that the call names, one change after another. Returns whom.
  private func change(
    _ call: Call, _ body: @escaping @Sendable (UserRecord, Session) throws -> Changed
  ) async throws -> (Reply, UserID?) {
    let reference = call.string("user") ?? ""
    let meant = Lock<UserID?>(nil)
    let reply = try await plane.change(call) { session in
      try begin(call, in: session)
      guard let user = try UserStore.find(reference, in: session) else { throw UserStore.absent(reference) }
      try call.requireMatch(user.etag)
      let changed = try body(user, session)
      if user.isAdmin { try UserStore.requireAdmin(in: session) }
      meant.withLock { $0 = user.id }
      return changed
    }
    return (reply, meant.withLock { $0 })
  }

  private func begin(_ call: Call, in session: Session) throws {
    try UserStore.lockAll(in: session)
    _ = try call.principal.confirmed(for: .userWrite, in: session)
  }

  private static func changed(
    _ user: UserRecord, _ kind: EventKind, _ reply: Reply, in session: Session
  ) throws -> Changed {
    try EventStore.append(kind, project: nil, resource: user.id.uuid, data: ["name": user.name], in: session)
    return Changed(reply: reply, effects: Effects(wake: [.events]), resource: user.id.uuid)
  }

  private static let rootStays = Problem(
    .inUse, "the user root stays, because aloftd token create makes its tokens; it can be disabled")
}
