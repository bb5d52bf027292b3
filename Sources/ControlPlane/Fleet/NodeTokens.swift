import AloftModel
import Crypto
import Foundation
import HTTPTypes
import JSON
import Postgres

/// A join token as the API shows it.
struct NodeTokenRecord: Sendable, JSONWritable {
  var id: NodeTokenID
  var description: String
  var pool: String
  /// A JSON object, passed through.
  var labels: String
  var expiresAt: Date
  var nodeID: NodeID?
  var revision: Int
  var createdAt: Date
  /// Only in the answer that made it.
  var secret: String?

  var etag: String { "\"\(revision)\"" }

  static let columns: SQL = "t.id, t.description, s.name, t.labels, t.expires_at, t.node_id, t.revision, t.created_at"
  static let source: SQL = "node_tokens t JOIN node_pools s ON s.id = t.pool_id"

  init(_ row: Row) throws {
    id = try row.get(0)
    description = try row.get(1)
    pool = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    expiresAt = try row.get(4)
    nodeID = try row.get(5)
    revision = try row.get(6)
    createdAt = try row.get(7)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("description", description)
      writer.field("pool", pool)
      writer.key("labels")
      writer.raw(labels)
      writer.field("expires_at", expiresAt)
      writer.field("node_id", nodeID)
      writer.field("created_at", createdAt)
      writer.fieldIfPresent("secret", secret)
    }
  }
}

/// Secrets that are recognised by their prefix and stored hashed. They are 256 random bits, so a plain hash is enough.
enum Secret {
  static let joinPrefix = "aloftjoin_"

  static func hash(_ secret: String) -> [UInt8] { Array(SHA256.hash(data: Array(secret.utf8))) }
}

/// The operations on join tokens.
struct NodeTokenHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listNodeTokens", list)
    table.on("createNodeToken", create)
    table.on("getNodeToken", get)
    table.on("deleteNodeToken", delete)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      try session.query(
        """
        SELECT \(fragment: NodeTokenRecord.columns) FROM \(fragment: NodeTokenRecord.source)
         WHERE \(cursor)::uuid IS NULL OR t.id > \(cursor) ORDER BY t.id LIMIT \(call.limit + 1)
        """
      ).map { try NodeTokenRecord($0) }
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let id = try tokenID(call)
    let record = try await plane.database.run { session in try Self.find(id, in: session) }
    guard let record else { throw Problem(.notFound, "there is no join token \(id)") }
    return .json(record, etag: record.etag)
  }

  private struct CreateBody: Decodable {
    var description: String?
    var ttlSeconds: Int?
    var pool: String?
    var labels: [String: String]?
  }

  private func create(_ call: Call) async throws -> Reply {
    let body = try call.decode(CreateBody.self)
    let id = NodeTokenID(plane.environment.newUUID())
    let secret = Secret.joinPrefix + plane.environment.newSecret(words: 4)
    return try await plane.change(call) { session in
      let pool = try NodePoolStore.require(body.pool ?? "default", in: session)
      _ = try session.execute(
        """
        INSERT INTO node_tokens (id, secret_hash, description, pool_id, labels, expires_at)
        VALUES (\(id), \(Secret.hash(secret)), \(body.description ?? ""), \(pool.id), \(JSONText((body.labels ?? [:]).jsonText))::jsonb,
                aloft_now() + make_interval(secs => \(Double(body.ttlSeconds ?? 3600))))
        """)
      guard var record = try Self.find(id, in: session) else { throw Problem(.notFound, "the token is gone") }
      record.secret = secret
      var reply = Reply.json(record, status: call.isDryRun ? .ok : .created)
      reply.headers[.location] = "/v1/node-tokens/\(id)"
      try EventStore.append(
        .nodeTokenCreated, project: nil, resource: id.uuid, data: ["description": record.description], in: session)
      return Changed(reply: reply, effects: Effects(wake: [.events]), resource: id.uuid)
    }
  }

  private func delete(_ call: Call) async throws -> Reply {
    let id = try tokenID(call)
    return try await plane.change(call) { session in
      guard let record = try Self.find(id, in: session) else {
        throw Problem(.notFound, "there is no join token \(id)")
      }
      try call.requireMatch(record.etag)
      _ = try session.execute("DELETE FROM node_tokens WHERE id = \(id)")
      try EventStore.append(
        .nodeTokenDeleted, project: nil, resource: id.uuid, data: ["description": record.description], in: session)
      return Changed(reply: .noContent, effects: Effects(wake: [.events]), resource: id.uuid)
    }
  }

  private func tokenID(_ call: Call) throws -> NodeTokenID {
    let text = call.string("node_token") ?? ""
    guard let id = NodeTokenID(text) else {
      throw Problem(.badID, "\(text) is not the id of a join token; it looks like ntok_01h455vb4pex5vsknk084sn02q")
    }
    return id
  }

  private static func find(_ id: NodeTokenID, in session: Session) throws -> NodeTokenRecord? {
    try session.one(
      "SELECT \(fragment: NodeTokenRecord.columns) FROM \(fragment: NodeTokenRecord.source) WHERE t.id = \(id)"
    )
    .map { try NodeTokenRecord($0) }
  }
}
