import AloftModel
import Foundation
import HTTPTypes
import JSON
import Postgres

/// The operations on API tokens. Everybody has to do with their own; who may change users, with everybody's.
///
/// Locks: the project, then users, then the token.
struct TokenHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listTokens", list)
    table.on("createToken", create)
    table.on("getToken", get)
    table.on("deleteToken", delete)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      let owner = try UserStore.owner(call.string("user"), call.principal, in: session)
      return try TokenStore.page(
        of: owner, visibleTo: call.principal, after: cursor, limit: call.limit + 1, in: session)
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let id = try tokenID(call)
    let record = try await plane.database.run { session in
      try TokenStore.find(id, visibleTo: call.principal, in: session)
    }
    guard let record else { throw Self.absent(id) }
    return .json(record, etag: record.etag)
  }

  private struct CreateBody: Decodable {
    var description: String?
    var ttlSeconds: Int?
    var project: String?
    var role: ProjectRole?
    var user: String?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    if (body.project == nil) != (body.role == nil) {
      let missing = body.project == nil ? "/project" : "/role"
      throw Problem(
        .missingField, "a token for one project needs project and role, any other neither",
        errors: [.init(code: .missingField, detail: "required with the other", pointer: missing)])
    }
    let id = APITokenID(plane.environment.newUUID())
    let secret = TokenSecret.make(plane.environment)
    return try await plane.change(call) { session in
      let limit = try Self.limit(body, call.principal, in: session)
      let owner = try UserStore.owner(body.user, call.principal, in: session)
      let locked = try UserStore.lock([owner] + [call.principal.user].compactMap(\.self), in: session)
      let maker = try call.principal.confirmed(for: .tokenWrite, in: session)
      guard locked.contains(owner) else { throw UserStore.absent(body.user ?? "") }
      let token = NewToken(
        description: body.description ?? "", user: owner, limit: limit, seconds: body.ttlSeconds)
      let now: Date = try session.one("SELECT aloft_now()")?.get(0) ?? plane.environment.now()
      if let refusal = token.refusal(for: maker, at: now) { throw refusal }
      try TokenStore.requireRoom(for: owner, in: session)
      try TokenStore.insert(id, secret: secret, token, in: session)
      guard var record = try TokenStore.find(id, visibleTo: maker, in: session) else { throw Self.absent(id) }
      record.secret = secret
      var reply = Reply.json(record, status: call.isDryRun ? .ok : .created)
      reply.headers[.location] = "/v1/tokens/\(id)"
      return try Self.changed(record, .tokenCreated, reply, in: session)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    let id = try tokenID(call)
    let reply = try await plane.change(call) { session in
      _ = try UserStore.lock([call.principal.user].compactMap(\.self), in: session)
      let caller = try call.principal.confirmed(for: .tokenWrite, in: session)
      guard let record = try TokenStore.find(id, visibleTo: caller, in: session) else { throw Self.absent(id) }
      try call.requireMatch(record.etag)
      try session.execute("DELETE FROM api_tokens WHERE id = \(id)")
      return try Self.changed(record, .tokenDeleted, .noContent, in: session)
    }
    if !call.isDryRun { plane.authorizer.tokens.forget(id) }
    return reply
  }

  private static func changed(
    _ token: TokenRecord, _ kind: EventKind, _ reply: Reply, in session: Session
  ) throws -> Changed {
    try EventStore.append(kind, project: nil, resource: token.id.uuid, data: ["user": token.user], in: session)
    return Changed(reply: reply, effects: Effects(wake: [.events]), resource: token.id.uuid)
  }

  /// The project that a new token is to be for; it stays until the transaction ends.
  private static func limit(_ body: CreateBody, _ caller: Principal, in session: Session) throws -> Principal.Grant? {
    guard let reference = body.project, let role = body.role else { return nil }
    guard let project = try ProjectStore.find(reference, in: session),
      caller.access(.projectRead, project: project.id.description) == .granted,
      try session.one("SELECT 1 FROM projects WHERE id = \(project.id) FOR KEY SHARE") != nil
    else { throw ProjectStore.absent(reference) }
    return Principal.Grant(project: project.id, name: project.name, role: role)
  }

  private func tokenID(_ call: Call) throws -> APITokenID {
    let text = call.string("token") ?? ""
    guard let id = APITokenID(text) else {
      throw Problem(.badID, "\(text) is not the id of a token; it looks like tok_01h455vb4pex5vsknk084sn02q")
    }
    return id
  }

  private static func absent(_ id: APITokenID) -> Problem {
    Problem(.notFound, "there is no token \(id) that this one may see; GET /v1/tokens lists them")
  }
}
