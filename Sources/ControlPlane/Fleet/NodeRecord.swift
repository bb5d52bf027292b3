import AloftModel
import Foundation
import JSON
import Postgres

/// A node as the API shows it.
struct NodeRecord: Sendable {
  var id: NodeID
  var name: String
  var schedulable: Bool
  var pool: String
  /// A JSON object, passed through.
  var labels: String
  var architecture: String
  var accelerator: Accelerator
  var capacity: Amounts
  var claimed: Amounts
  /// A JSON object, passed through.
  var facts: String
  /// A JSON object, passed through; nil from agents that know nothing of networks.
  var networking: String?
  /// What is on it though nothing needs it, in its agent's words.
  var orphans: [String]
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  var lastSeenAt: Date?
  var alive: Bool

  /// Names the version of what operators set; observation does not change it.
  var etag: String { "\"\(revision)\"" }

  var state: Node.State {
    if !alive { return .down }
    return schedulable ? .ready : .cordoned
  }

  static let columns: SQL = """
    n.id, n.name, n.schedulable, s.name, n.labels, n.architecture, n.accelerator, n.vcpus, n.memory_mib, n.disk_gib,
    n.vcpus_claimed, n.memory_mib_claimed, n.disk_gib_claimed, n.facts, n.revision, n.created_at, n.updated_at,
    l.renewed_at, n.down_since IS NULL AND coalesce(l.expires_at > aloft_now(), true),
    n.networking, n.orphans
    """

  static let source: SQL = """
    nodes n JOIN node_pools s ON s.id = n.pool_id LEFT JOIN node_leases l ON l.node_id = n.id
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    name = try row.get(1)
    schedulable = try row.get(2)
    pool = try row.get(3)
    labels = try row.get(4, as: JSONText.self).text
    architecture = try row.get(5)
    accelerator = try row.get(6)
    capacity = Amounts(vcpus: try row.get(7), memoryMib: try row.get(8), diskGib: try row.get(9))
    claimed = Amounts(vcpus: try row.get(10), memoryMib: try row.get(11), diskGib: try row.get(12))
    facts = try row.get(13, as: JSONText.self).text
    revision = try row.get(14)
    createdAt = try row.get(15)
    updatedAt = try row.get(16)
    lastSeenAt = try row.get(17)
    alive = try row.get(18)
    networking = try row.get(19, as: JSONText?.self)?.text
    orphans = try row.get(20)
  }
}

extension NodeRecord: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("state", state.rawValue)
      writer.field("schedulable", schedulable)
      writer.field("pool", pool)
      writer.key("labels")
      writer.raw(labels)
      writer.field("architecture", architecture)
      writer.field("accelerator", accelerator)
      writer.field("capacity", capacity)
      writer.field("claimed", claimed)
      writer.key("facts")
      writer.raw(facts)
      writer.key("networking")
      writer.raw(networking ?? "null")
      writer.field("orphans", orphans)
      writer.field("last_seen_at", lastSeenAt)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

extension Amounts: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("vcpus", vcpus)
      writer.field("memory_mib", memoryMib)
      writer.field("disk_gib", diskGib)
    }
  }
}
