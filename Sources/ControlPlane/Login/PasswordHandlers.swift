import AloftModel
import Foundation
import JSON
import Postgres

/// The operations on passwords.
///
/// Invariants:
/// - A password that changes ends all sessions of its user. API tokens stay: they were given to programs, and are revoked one by
///   one.
/// - Hashes are computed outside of transactions; what was decided by them is confirmed under the user's lock.
struct PasswordHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("setUserPassword", set)
    table.on("removeUserPassword", remove)
    table.on("changeOwnPassword", changeOwn)
  }

  private struct SetBody: Decodable {
    var password: String
  }

  private func set(_ call: Call) async throws -> Reply {
    let password = try PasswordStore.bytes(try call.decode(SetBody.self).password, at: "/password")
    // Nothing is hashed for whom there is not.
    _ = try await plane.database.run { session in try Self.person(call, in: session) }
    let hash = try await plane.logins.hasher.hash(password)
    return try await change(call) { user, session in try PasswordStore.set(hash, of: user.id, in: session) }
  }

  private func remove(_ call: Call) async throws -> Reply {
    try await change(call) { user, session in
      guard try PasswordStore.remove(user.id, in: session) else {
        throw Problem(.notFound, "the user \(user.name) has no password; PUT to this path sets one")
      }
    }
  }

  /// Changes what an admin may change, with the user locked.
  private func change(
    _ call: Call, _ body: @escaping @Sendable (UserRecord, Session) throws -> Void
  ) async throws -> Reply {
    let reply = try await plane.change(call) { session in
      try UserStore.lockAll(in: session)
      _ = try call.principal.confirmed(for: .userWrite, in: session)
      let user = try Self.person(call, in: session)
      _ = try UserStore.lock([user.id], in: session)
      try body(user, session)
      return try Self.changed(user, in: session)
    }
    if !call.isDryRun { plane.authorizer.tokens.forgetSessions() }
    return reply
  }

  private struct ChangeBody: Decodable {
    var currentPassword: String
    var password: String
  }

  private func changeOwn(_ call: Call) async throws -> Reply {
    let body = try call.decode(ChangeBody.self)
    guard let id = call.principal.user, call.principal.limit == nil else {
      throw Problem(.forbidden, "a token that is for one project cannot change its user's password")
    }
    let current = try PasswordStore.bytes(body.currentPassword, at: "/current_password")
    let password = try PasswordStore.bytes(body.password, at: "/password")
    let (limits, address) = (plane.logins.limits, call.request.peer.address)
    let key = id.description
    try limits.admit(account: key, called: call.principal.userName, from: address, isKnownSite: true)
    guard let old = try await plane.database.run({ session in try PasswordStore.find(id, in: session) }) else {
      throw Problem(
        .wrongState,
        "the user \(call.principal.userName) has no password; an admin sets the first: PUT /v1/users/…/password")
    }
    guard try await plane.logins.hasher.verify(current, against: old) else {
      limits.failed(account: key, from: address, isKnownSite: true)
      throw Problem(
        .forbidden, "current_password is not the present password",
        errors: [.init(code: .forbidden, detail: "not the present password", pointer: "/current_password")])
    }
    let hash = try await plane.logins.hasher.hash(password)
    let reply = try await plane.change(call) { session in
      _ = try UserStore.lock([id], in: session)
      _ = try call.principal.confirmed(for: .selfWrite, in: session)
      guard let user = try UserStore.find(id.description, in: session),
        try PasswordStore.find(id, in: session) == old
      else { throw Problem(.wrongState, "the password was changed by somebody else in the meantime; log in anew") }
      try PasswordStore.set(hash, of: id, in: session)
      return try Self.changed(user, in: session)
    }
    if !call.isDryRun { plane.authorizer.tokens.forgetSessions() }
    return reply
  }

  private static func changed(_ user: UserRecord, in session: Session) throws -> Changed {
    try SessionStore.endAll(of: user.id, in: session)
    try EventStore.append(.userUpdated, project: nil, resource: user.id.uuid, data: ["name": user.name], in: session)
    return Changed(reply: .noContent, effects: Effects(wake: [.events]), resource: user.id.uuid)
  }

  private static func person(_ call: Call, in session: Session) throws -> UserRecord {
    let reference = call.string("user") ?? ""
    guard let user = try UserStore.find(reference, in: session) else { throw UserStore.absent(reference) }
    guard user.kind == .person else { throw PasswordStore.notForServices }
    return user
  }
}
