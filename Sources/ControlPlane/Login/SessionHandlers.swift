import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on sessions. Everybody has to do with their own; who may change users, with everybody's.
///
/// Locks: users, then the session.
struct SessionHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listSessions", list)
    table.on("deleteSession", delete)
    table.on("getOwnSession", getOwn)
    table.on("endOwnSession", endOwn)
  }

  private func list(_ call: Call) async throws -> Reply {
    let (caller, cursor, reference) = (try Self.unlimited(call.principal), try call.cursor(), call.string("user"))
    let idleSeconds = plane.settings.sessions.idleSeconds
    let records = try await plane.database.run { session in
      let owner = try UserStore.owner(reference, caller, in: session)
      return try SessionStore.page(
        of: owner, idleSeconds: idleSeconds, after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func delete(_ call: Call) async throws -> Reply {
    let text = call.string("session") ?? ""
    guard let id = SessionID(text) else {
      throw Problem(.badID, "\(text) is not the id of a session; it looks like ses_01h455vb4pex5vsknk084sn02q")
    }
    return try await end(id, call)
  }

  private func getOwn(_ call: Call) async throws -> Reply {
    let id = try own(call)
    guard var record = try await plane.database.run({ session in try SessionStore.find(id, in: session) }) else {
      throw KnownCaller.ended
    }
    record.csrfToken = call.principal.csrfToken
    return .json(record)
  }

  private func endOwn(_ call: Call) async throws -> Reply {
    var reply = try await end(try own(call), call)
    reply.headers[.setCookie] = SessionCookie.clearing
    return reply
  }

  private func end(_ id: SessionID, _ call: Call) async throws -> Reply {
    _ = try Self.unlimited(call.principal)
    let reply = try await plane.change(call) { session in
      _ = try UserStore.lock([call.principal.user].compactMap(\.self), in: session)
      let caller = try call.principal.confirmed(for: .sessionWrite, in: session)
      guard let record = try SessionStore.find(id, in: session),
        record.userID == caller.user || caller.cloudRole?.holds(.userWrite) == true
      else { throw Self.absent(id) }
      try SessionStore.end(id, in: session)
      return Changed(reply: .noContent, resource: id.uuid)
    }
    if !call.isDryRun { plane.authorizer.tokens.forget(id) }
    return reply
  }

  private func own(_ call: Call) throws -> SessionID {
    guard let id = call.principal.session else {
      throw Problem(.notFound, "this call was made with a token and is in no session; GET /v1/whoami shows the token")
    }
    return id
  }

  /// A token for one project must not look at all that its user does.
  private static func unlimited(_ caller: Principal) throws -> Principal {
    guard caller.limit == nil else {
      throw Problem(.forbidden, "a token that is for one project has nothing to do with its user's sessions")
    }
    return caller
  }

  private static func absent(_ id: SessionID) -> Problem {
    Problem(.notFound, "there is no session \(id) that this caller may see; GET /v1/sessions lists them")
  }
}
