import AloftModel
import Foundation
import JSON
import Postgres

/// A snapshot as the API shows it, read with all that its state is derived from.
struct SnapshotRecord: Resource {
  typealias Kind = SnapshotKind

  static let noun = Noun(
    word: "snapshot", path: "snapshots", table: "snapshots", uniqueName: "snapshots_name", created: .snapshotCreated,
    updated: .snapshotUpdated, deleted: .snapshotDeleted)

  /// One volume of which it is.
  struct Member: Sendable, Decodable {
    var volume: UUID
    var name: String
    var sizeGib: Int
    var parent: UUID?
    var takenAt: String?
    var quiesced: Bool?
    var isThere: Bool
    var isCurrent: Bool
    var isReverted: Bool
    var isShared: Bool
    var node: String?
    var alive: Bool
    var activity: String?
    var bytesDone: Int?
    var bytesTotal: Int?
    var problemCode: String?
    var problem: String?
  }

  var id: SnapshotID
  var project: ProjectID
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var vmID: VMID?
  var isDeleted: Bool
  /// Nobody asked for it by name: a volume is being cloned through it.
  var isHidden: Bool
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  var members: [Member]
  /// Nil: it has none.
  var memory: SnapshotMemory?
  /// The newest one that has not ended; in the answer to a change, that change's.
  var operation: OperationRecord?

  var projectID: ProjectID? { project }

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.vm_id, r.deleted_at IS NOT NULL, r.revision, r.created_at, r.updated_at,
    (SELECT jsonb_agg(jsonb_build_object(
              'volume', v.id, 'name', v.name, 'size_gib', m.size_gib, 'parent', m.parent_id, 'taken_at', m.taken_at,
              'quiesced', m.quiesced, 'is_there', coalesce(r.id = ANY(o.snapshots), false),
              'is_current', coalesce(o.generation >= v.generation AND o.state = 'ready', false),
              'is_reverted', coalesce(o.epoch >= v.epoch, false), 'node', n.name,
              'is_shared', (SELECT s.kind = 'rbd' FROM storage_pools s WHERE s.id = v.pool_id),
              'alive', coalesce((SELECT l.expires_at > aloft_now() FROM node_leases l WHERE l.node_id = n.id), true),
              'activity', o.activity, 'bytes_done', o.bytes_done, 'bytes_total', o.bytes_total,
              'problem_code', o.problem_code, 'problem', o.problem_detail)
            ORDER BY v.position NULLS LAST, v.id)
       FROM volume_snapshots m JOIN volumes v ON v.id = m.volume_id LEFT JOIN nodes n ON n.id = v.node_id
            LEFT JOIN volume_observations o ON o.volume_id = v.id
      WHERE m.snapshot_id = r.id),
    p.id, p.kind, p.status, p.project_id, p.resource_id, p.waiting_for, p.progress, p.error_code, p.error_detail,
    p.created_at, p.finished_at, p.deadline, r.hidden, \(fragment: SnapshotMemory.column)
    """

  static let restriction: SQL = " AND NOT r.hidden"

  static let preference: SQL = "ORDER BY r.deleted_at IS NOT NULL, r.id DESC LIMIT 1"

  static let joins: SQL = """
    LEFT JOIN LATERAL (
      SELECT * FROM operations p WHERE p.finished_at IS NULL AND p.resource_id = r.id ORDER BY p.id DESC LIMIT 1) p ON true
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    project = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    vmID = try row.get(4)
    isDeleted = try row.get(5)
    revision = try row.get(6)
    createdAt = try row.get(7)
    updatedAt = try row.get(8)
    members = try row.list(9)
    operation = try OperationRecord(row, from: 10)
    isHidden = try row.get(22)
    memory = try row.list(23, of: SnapshotMemory.self).first
  }

  /// In the order in which they are locked.
  var volumes: [VolumeID] {
    members.map { VolumeID($0.volume) }.sorted { $0.uuid.uuidString < $1.uuid.uuidString }
  }

  var facts: SnapshotFacts {
    SnapshotFacts(
      deleted: isDeleted,
      members: members.map { member in
        let code = member.problemCode.flatMap(OperationFailure.init(rawValue:))
        return SnapshotFacts.Member(
          isTaken: member.takenAt != nil, isThere: member.isThere, isCurrent: member.isCurrent,
          isReverted: member.isReverted, host: member.node.map { VMHost(name: $0, alive: member.alive) },
          isShared: member.isShared,
          activity: member.activity, progress: member.progress,
          problem: code.map { .init(code: $0, detail: member.problem ?? "") })
      }, hasMemory: memory.map { $0.sizeBytes != nil })
  }

  func write(to writer: inout JSONWriter) {
    let facts = facts
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", project)
      writer.field("state", facts.state)
      writer.field("reason", facts.state == .available ? nil : facts.reason)
      writer.field("vm_id", vmID)
      // Only if the guest's file systems were at rest in all of it.
      writer.field("quiesced", facts.isTaken ? members.allSatisfy { $0.quiesced == true } : nil)
      writer.field("memory", memory != nil)
      writer.field("memory_bytes", memory?.sizeBytes)
      writer.field("memory_pending", memory?.isPending == true)
      writer.field("volumes", members)
      writer.key("labels")
      writer.raw(labels)
      writer.field("operation", operation)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

extension SnapshotRecord.Member: JSONWritable {
  /// How far the agent is, in per cent.
  fileprivate var progress: Int? {
    guard let bytesDone, let bytesTotal, bytesTotal > 0, takenAt == nil else { return nil }
    return min(100, bytesDone / max(1, bytesTotal / 100))
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("volume_id", VolumeID(volume))
      writer.field("name", name)
      writer.field("size_gib", sizeGib)
      writer.field("parent_id", parent.map { SnapshotID($0) })
    }
  }
}
