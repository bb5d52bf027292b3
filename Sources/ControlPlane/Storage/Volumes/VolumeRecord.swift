import AloftModel
import Foundation
import JSON
import Postgres

/// A volume as the API shows it, read with all that its state is derived from.
struct VolumeRecord: Resource {
  typealias Kind = VolumeKind

  static let noun = Noun(
    word: "volume", path: "volumes", table: "volumes", uniqueName: "volumes_name", created: .volumeCreated,
    updated: .volumeUpdated, deleted: .volumeDeleted)

  var id: VolumeID
  var project: ProjectID
  var name: String
  /// A JSON object, passed through.
  var labels: String
  var pool: PoolSummary
  var nodeID: NodeID?
  /// The node that is to have it next, in a pool that nodes share.
  var nextNodeID: NodeID?
  var imageID: ImageID?
  var vmID: VMID?
  var isDetaching: Bool
  var bus: DiskBus
  var bootIndex: Int?
  var deletesWithVM: Bool
  var limits: IOLimits
  var isEncrypted: Bool
  var revision: Int
  var createdAt: Date
  var updatedAt: Date
  var facts: VolumeFacts
  /// The newest one that has not ended; in the answer to a change, that change's.
  var operation: OperationRecord?

  /// What there is to know of the volume's pool.
  struct PoolSummary: Sendable {
    var id: StoragePoolID
    var name: String
    var kind: StoragePoolKind

    /// Its volumes can be used on one node only.
    var isLocal: Bool { !kind.isShared }
  }

  var projectID: ProjectID? { project }

  static let columns: SQL = """
    r.id, r.project_id, r.name, r.labels, r.pool_id, s.name, s.kind, r.node_id, r.image_id, r.vm_id, r.detaching, r.bus,
    r.boot_index, r.delete_with_vm, r.revision, r.created_at, r.updated_at,
    r.deleted_at IS NOT NULL, r.generation, r.size_gib, (SELECT v.name FROM vms v WHERE v.id = r.vm_id),
    n.name, coalesce((SELECT l.expires_at > aloft_now() FROM node_leases l WHERE l.node_id = n.id), true),
    o.generation, o.state, o.size_bytes, o.used_bytes, o.activity, o.bytes_done, o.bytes_total, o.problem_code,
    o.problem_detail, o.epoch, o.snapshots,
    p.id, p.kind, p.status, p.project_id, p.resource_id, p.waiting_for, p.progress, p.error_code, p.error_detail,
    p.created_at, p.finished_at, p.deadline, r.io_limits,
    r.next_node_id, (SELECT t.name FROM nodes t WHERE t.id = r.next_node_id), r.epoch,
    r.source_backup_id IS NOT NULL, r.base_backup_id IS NOT NULL, r.encrypted,
    (SELECT g.name FROM storage_pools g WHERE g.id = r.moving_to), r.move_failure, r.move_failure_detail, o.pool
    """

  static let preference: SQL = "ORDER BY r.deleted_at IS NOT NULL, r.id DESC LIMIT 1"

  static let joins: SQL = """
    JOIN storage_pools s ON s.id = r.pool_id LEFT JOIN nodes n ON n.id = r.node_id
    LEFT JOIN volume_observations o ON o.volume_id = r.id
    LEFT JOIN LATERAL (
      SELECT * FROM operations p
       WHERE p.finished_at IS NULL AND (p.resource_id = r.id OR p.resource_id = r.vm_id AND p.kind LIKE 'vm.%_volume')
       ORDER BY p.id DESC LIMIT 1) p ON true
    """

  init(_ row: Row) throws {
    id = try row.get(0)
    project = try row.get(1)
    name = try row.get(2)
    labels = try row.get(3, as: JSONText.self).text
    pool = PoolSummary(id: try row.get(4), name: try row.get(5), kind: try row.get(6))
    nodeID = try row.get(7)
    imageID = try row.get(8)
    vmID = try row.get(9)
    isDetaching = try row.get(10)
    bus = try row.get(11)
    bootIndex = try row.get(12)
    deletesWithVM = try row.get(13)
    revision = try row.get(14)
    createdAt = try row.get(15)
    updatedAt = try row.get(16)
    let intent = VolumeIntent(
      deleted: try row.get(17), generation: try row.get(18), sizeGiB: try row.get(19), vm: try row.get(20),
      epoch: try row.get(49), isMadeOfBackup: try row.get(50), isRestored: try row.get(51))
    var host: VMHost?
    if let nodeName = try row.get(21, as: String?.self) { host = VMHost(name: nodeName, alive: try row.get(22)) }
    nextNodeID = try row.get(47)
    facts = VolumeFacts(
      intent: intent, observed: try VolumeObserved(row, from: 23), host: host, isShared: pool.kind.isShared,
      next: try row.get(48), pool: pool.name, move: try VolumeMove(row, from: 53))
    facts.observed?.pool = try row.get(56)
    operation = try OperationRecord(row, from: 34)
    limits = try IOLimits(row, at: 46)
    isEncrypted = try row.get(52)
  }

  func write(to writer: inout JSONWriter) {
    let derived = VolumeDerivedState.of(facts)
    writer.object { writer in
      writer.field("id", id)
      writer.field("name", name)
      writer.field("project_id", project)
      writer.field("state", derived.state)
      writer.field("reason", derived.reason)
      writer.field("size_gib", facts.intent.sizeGiB)
      writer.field("used_bytes", facts.observed?.usedBytes)
      writer.field("pool", pool.name)
      writer.field("node", facts.host?.name)
      writer.field("image_id", imageID)
      writer.field("vm_id", vmID)
      writer.field("bus", bus)
      writer.field("boot_index", bootIndex)
      writer.field("delete_with_vm", deletesWithVM)
      writer.field("io_limits", limits)
      writer.field("encrypted", isEncrypted)
      writer.field("move", facts.move.map { MoveSummary(pool: $0.target, observed: facts.observed) })
      writer.field("serial", id.serial)
      writer.key("labels")
      writer.raw(labels)
      writer.field("generation", facts.intent.generation)
      writer.field("operation", operation)
      writer.field("created_at", createdAt)
      writer.field("updated_at", updatedAt)
    }
  }
}

extension VolumeObserved {
  /// Reads the eleven columns of an observation; nil when there is none.
  init?(_ row: Row, from first: Int) throws {
    guard let generation = try row.get(first, as: Int?.self) else { return nil }
    let code = try row.get(first + 7, as: OperationFailure?.self)
    self.init(
      generation: generation, state: try row.get(first + 1), sizeBytes: try row.get(first + 2),
      usedBytes: try row.get(first + 3), activity: try row.get(first + 4), bytesDone: try row.get(first + 5),
      bytesTotal: try row.get(first + 6),
      problem: try code.map { Observation.Problem(code: $0, detail: try row.get(first + 8)) },
      epoch: try row.get(first + 9), snapshots: Set(try row.get(first + 10, as: [UUID].self)))
  }
}
