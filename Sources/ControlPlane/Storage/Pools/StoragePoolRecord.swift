import AloftModel
import Foundation
import JSON
import Postgres

/// A storage pool as the API shows it, with how full it is on each node.
struct StoragePoolRecord: Resource {
  typealias Kind = StoragePoolTag

  static let noun = Noun(
    word: "storage pool", path: "storage-pools", table: "storage_pools", uniqueName: "storage_pools_name",
    created: .storagePoolCreated, updated: .storagePoolUpdated, deleted: .storagePoolDeleted)
  static let isCloudWide = true
  /// Every node has it in its agent's data directory.
  static let localName = "local"

  var id: StoragePoolID
  var projectID: ProjectID? { nil }
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var kind: StoragePoolKind
  var overcommit: Double
  var warningPercent: Int
  var criticalPercent: Int
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  /// Nil, like ``places``, for who may not know.
  var volumes: Int?
  var places: [Place]?
  /// How full all of it is, if nodes share it.
  var whole: Whole?

  /// What fills up by itself.
  struct Whole: Sendable, JSONWritable {
    var total: Int
    var free: Int
    var used: Int
    var claimed: Int
    var limit: Int
    var level: String

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("total_bytes", total)
        writer.field("free_bytes", free)
        writer.field("used_bytes", used)
        writer.field("claimed_gib", claimed)
        writer.field("limit_gib", limit)
        writer.field("level", level)
      }
    }
  }

  /// What a node has of the pool, or sees of one that nodes share.
  struct Place: Sendable, Decodable, JSONWritable {
    var node: String
    var total: Int
    var free: Int
    var used: Int
    /// Nil, like the limit and the level, where nodes share the pool.
    var claimed: Int?
    var limit: Int?
    var level: String?
    var problem: String?

    func write(to writer: inout JSONWriter) {
      writer.object { writer in
        writer.field("node", node)
        writer.field("total_bytes", total)
        writer.field("free_bytes", free)
        writer.field("used_bytes", used)
        writer.field("claimed_gib", claimed)
        writer.field("limit_gib", limit)
        writer.field("level", level)
        writer.field("problem", problem)
      }
    }
  }

  static let columns: SQL = """
    r.id, r.name, r.labels, r.kind, r.overcommit, r.warning_percent, r.critical_percent, r.revision, r.created_at,
    r.updated_at, (SELECT count(*) FROM volumes v WHERE v.pool_id = r.id),
    (SELECT jsonb_agg(jsonb_build_object('node', n.name, 'total', p.total_bytes, 'free', p.free_bytes,
                        'used', p.used_bytes, 'problem', p.problem,
                        'claimed', CASE WHEN r.kind = 'dir' THEN coalesce(p.claimed_gib, n.disk_gib_claimed) END,
                        'limit', CASE WHEN r.kind = 'dir' THEN coalesce(p.limit_gib, n.disk_gib_limit) END,
                        'level', CASE WHEN r.kind = 'dir' THEN p.level END)
                      ORDER BY n.name)
       FROM storage_places p JOIN nodes n ON n.id = p.node_id WHERE p.pool_id = r.id),
    r.total_bytes, r.free_bytes, r.used_bytes, r.claimed_gib, r.limit_gib, r.level
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    name = try row.get(1)
    labels = try row.get(2, as: JSONText.self).text
    kind = try row.get(3)
    overcommit = try row.get(4)
    warningPercent = try row.get(5)
    criticalPercent = try row.get(6)
    revision = try row.get(7)
    createdAt = try row.get(8)
    updatedAt = try row.get(9)
    volumes = try row.get(10)
    places = try row.list(11)
    if kind.isShared {
      whole = Whole(
        total: try row.get(12) ?? 0, free: try row.get(13) ?? 0, used: try row.get(14) ?? 0, claimed: try row.get(15),
        limit: try row.get(16) ?? 0, level: try row.get(17))
    }
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("kind", kind)
      writer.field("overcommit", overcommit)
      writer.field("warning_percent", warningPercent)
      writer.field("critical_percent", criticalPercent)
      writer.field("volumes", volumes)
      writer.field("shared", whole)
      writer.field("places", places)
      writer.key("labels")
      writer.raw(labels)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}
