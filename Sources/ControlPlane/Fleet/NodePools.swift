import AloftModel
import Foundation
import JSON
import Postgres

/// A node pool as the API shows it.
struct NodePoolRecord: Sendable, JSONWritable {
  var id: NodePoolID
  var name: String
  var strategy: String
  var cpuOvercommit: Double
  var memoryOvercommit: Double
  var diskOvercommit: Double
  var revision: Int
  var createdAt: Date
  var updatedAt: Date

  var etag: String { "\"\(revision)\"" }

  static let columns: SQL = """
    s.id, s.name, s.strategy, s.cpu_overcommit, s.memory_overcommit, s.disk_overcommit, s.revision, s.created_at, s.updated_at
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    name = try row.get(1)
    strategy = try row.get(2)
    cpuOvercommit = try row.get(3)
    memoryOvercommit = try row.get(4)
    diskOvercommit = try row.get(5)
    revision = try row.get(6)
    createdAt = try row.get(7)
    updatedAt = try row.get(8)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("strategy", strategy)
      writer.field("cpu_overcommit", cpuOvercommit)
      writer.field("memory_overcommit", memoryOvercommit)
      writer.field("disk_overcommit", diskOvercommit)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

/// The rows of `node_pools`.
enum NodePoolStore {
  /// By id or name.
  static func find(_ reference: String, in session: Session) throws -> NodePoolRecord? {
    let condition: SQL = NodePoolID(reference).map { "s.id = \($0)" } ?? "s.name = \(reference)"
    return try session.one("SELECT \(fragment: NodePoolRecord.columns) FROM node_pools s WHERE \(fragment: condition)")
      .map { try NodePoolRecord($0) }
  }

  /// Lets nobody change the ratios before this transaction has ended. Pools are locked before nodes: which pool a node is in is
  /// certain only once the node is locked, and pools are few, so it is all of them.
  static func keepAsTheyAre(in session: Session) throws {
    try session.execute("SELECT 1 FROM node_pools ORDER BY id FOR SHARE")
  }

  /// The pool that a body refers to.
  static func require(_ reference: String, in session: Session) throws -> NodePoolRecord {
    guard let pool = try find(reference, in: session) else {
      throw Problem(
        .notFound, "there is no node pool \(reference); GET /v1/node-pools lists them",
        errors: [.init(code: .notFound, detail: "unknown", pointer: "/pool")])
    }
    return pool
  }
}

/// The operations on node pools.
struct NodePoolHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("listNodePools", list)
    table.on("getNodePool", get)
    table.on("updateNodePool", update)
  }

  private func list(_ call: Call) async throws -> Reply {
    let cursor = try call.cursor()
    let records = try await plane.database.run { session in
      try session.query(
        """
        SELECT \(fragment: NodePoolRecord.columns) FROM node_pools s
         WHERE \(cursor)::uuid IS NULL OR s.id > \(cursor) ORDER BY s.id LIMIT \(call.limit + 1)
        """
      ).map { try NodePoolRecord($0) }
    }
    return .page(records, limit: call.limit) { $0.id.uuid }
  }

  private func get(_ call: Call) async throws -> Reply {
    let reference = call.string("node_pool") ?? ""
    let record = try await plane.database.run { session in try NodePoolStore.find(reference, in: session) }
    guard let record else { throw Problem(.notFound, "there is no node pool \(reference)") }
    return .json(record, etag: record.etag)
  }

  private struct UpdateBody: Decodable {
    var strategy: String?
    var cpuOvercommit: Double?
    var memoryOvercommit: Double?
    var diskOvercommit: Double?
  }

  /// A lower ratio takes nothing away: a node above its new limit takes no more until it is below.
  private func update(_ call: Call) async throws -> Reply {
    let body = try call.decode(UpdateBody.self)
    return try await plane.change(call) { session in
      let reference = call.string("node_pool") ?? ""
      guard let found = try NodePoolStore.find(reference, in: session),
        try session.one("SELECT 1 FROM node_pools WHERE id = \(found.id) FOR UPDATE") != nil,
        let pool = try NodePoolStore.find(found.id.description, in: session)
      else { throw Problem(.notFound, "there is no node pool \(reference)") }
      try call.requireMatch(pool.etag)
      _ = try session.execute(
        """
        UPDATE node_pools SET strategy = coalesce(\(body.strategy), strategy),
                              cpu_overcommit = coalesce(\(body.cpuOvercommit), cpu_overcommit),
                              memory_overcommit = coalesce(\(body.memoryOvercommit), memory_overcommit),
                              disk_overcommit = coalesce(\(body.diskOvercommit), disk_overcommit),
                              revision = revision + 1, updated_at = aloft_now()
         WHERE id = \(pool.id)
        """)
      try NodeStore.recomputeLimits(pool: pool.id, in: session)
      guard let after = try NodePoolStore.find(pool.id.description, in: session) else {
        throw Problem(.notFound, "node pool \(pool.name) is gone")
      }
      try EventStore.append(
        .nodePoolUpdated, project: nil, resource: pool.id.uuid, data: ["name": pool.name], in: session)
      return Changed(
        reply: .json(after, etag: after.etag), effects: Effects(wake: [.events]), resource: pool.id.uuid)
    }
  }
}
