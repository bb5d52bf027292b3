import AloftModel
import Foundation
import JSON
import Postgres

/// What a guest's memory held at the instant of a snapshot of all its volumes.
struct SnapshotMemory: Sendable, Decodable {
  /// Beside which the file lies.
  var volume: UUID
  var promisedGib: Int
  /// Nil: it is not written.
  var sizeBytes: Int?
  var shape: MachineShape
  /// The machine goes on from it at its next start.
  var isPending: Bool

  /// Of snapshot `r`, as JSON.
  static let column: SQL = """
    (SELECT jsonb_build_array(jsonb_build_object(
              'volume', k.volume_id, 'promised_gib', k.promised_gib, 'size_bytes', k.size_bytes, 'shape', k.shape,
              'is_pending', EXISTS (SELECT 1 FROM vms v WHERE v.id = r.vm_id AND v.memory_snapshot_id = r.id
                                                          AND \(fragment: isPending))))
       FROM snapshot_memories k WHERE k.snapshot_id = r.id)
    """

  /// Whether VM `v` is to go on from memory: its volumes hold what that knows of them.
  static let isPending: SQL = """
    (v.memory_request IS NOT NULL AND v.deleted_at IS NULL
     AND v.memory_epochs = (SELECT jsonb_object_agg(d.id, d.epoch) FROM volumes d WHERE d.vm_id = v.id AND NOT d.detaching))
    """

  /// What VM `v` is to go on from, for its agent, as JSON; NULL: it boots.
  static let assigned: SQL = """
    (SELECT jsonb_build_array(jsonb_build_object('request', v.memory_request, 'snapshot', k.snapshot_id, 'volume', k.volume_id,
                                                 'epochs', v.memory_epochs))
       FROM snapshot_memories k WHERE k.snapshot_id = v.memory_snapshot_id AND \(fragment: isPending))
    """

  private struct Assigned: Decodable {
    var request: UUID
    var snapshot: UUID
    var volume: UUID
    var epochs: [String: Int]
  }

  /// Reads ``assigned``.
  static func assignment(_ row: Row, at index: Int) throws -> Assignment.Memory? {
    try row.list(index, of: Assigned.self).first.map { found in
      Assignment.Memory(
        request: VMRequestID(found.request), snapshot: SnapshotID(found.snapshot), volume: VolumeID(found.volume),
        epochs: found.epochs.compactMap { id, epoch in
          UUID(uuidString: id).map { Assignment.Memory.Epoch(volume: VolumeID($0), epoch: epoch) }
        }.sorted { $0.volume.description < $1.volume.description })
    }
  }

  /// A file may become as large as the memory twice: the guest runs on while it is written, until as much was written as it has.
  static func promisedGiB(memoryMiB: Int) -> Int { (2 * memoryMiB + 1023) / 1024 + 1 }

  /// How much is promised to what was written.
  static func promisedGiB(bytes: Int) -> Int { max(1, (bytes + (1 << 30) - 1) >> 30) }

  // MARK: Changing

  /// The place where the memory will be counted, of a volume that the caller has locked, and its node with it.
  static func holdPlace(of volume: VolumeRecord, in session: Session) throws {
    try session.execute(
      "SELECT 1 FROM storage_places WHERE pool_id = \(volume.pool.id) AND node_id = \(volume.nodeID) FOR UPDATE")
  }

  /// Promises room beside a volume.
  static func promise(
    _ snapshot: SnapshotID, beside volume: VolumeRecord, of vm: VMRecord, in session: Session
  ) throws {
    let gib = promisedGiB(memoryMiB: vm.memoryMiB)
    let shape = String(decoding: try JSONCoder.encode(vm.shape), as: UTF8.self)
    do {
      try session.execute(
        """
        INSERT INTO snapshot_memories (snapshot_id, volume_id, pool_id, node_id, project_id, usage_slot, promised_gib, shape)
        SELECT \(snapshot), v.id, v.pool_id, v.node_id, v.project_id, v.usage_slot, \(gib), \(JSONText(shape))::jsonb
          FROM volumes v WHERE v.id = \(volume.id)
        """)
    } catch {
      guard error.isCheckViolation("volumes_within_place") else { throw error }
      throw Problem.field(
        .noCapacity, "/memory",
        "\(volume.facts.host.map { "node \($0.name)" } ?? "its node") has no room for \(gib) GiB, twice the memory of VM "
          + "\(vm.name), which it may take while it is written; free some, or take the snapshot without memory")
    }
  }

  /// Gives back what was promised beyond what was written.
  static func settle(_ snapshot: SnapshotRecord, in session: Session) throws {
    guard let memory = snapshot.memory, let bytes = memory.sizeBytes else { return }
    let needed = promisedGiB(bytes: bytes)
    guard needed < memory.promisedGib else { return }
    try session.execute("UPDATE snapshot_memories SET promised_gib = \(needed) WHERE snapshot_id = \(snapshot.id)")
  }

  /// Takes over that an agent has written memory beside a volume.
  static func writing(_ snapshots: [VolumeObservation.Snapshot], beside volume: VolumeID) -> [SQL] {
    snapshots.compactMap { seen in
      seen.memoryBytes.map { bytes in
        """
        UPDATE snapshot_memories SET size_bytes = \(bytes)
         WHERE snapshot_id = \(seen.id) AND volume_id = \(volume) AND size_bytes IS NULL
        """
      }
    }
  }

  /// A machine goes on from memory at its next start; its volumes, which were put back, are locked, and it is.
  static func request(_ request: UUID, _ snapshot: SnapshotID, of vm: VMID, in session: Session) throws {
    try session.execute(
      """
      UPDATE vms SET memory_snapshot_id = \(snapshot), memory_request = \(request),
                     memory_epochs = (SELECT jsonb_object_agg(d.id, d.epoch) FROM volumes d
                                       WHERE d.vm_id = \(vm) AND NOT d.detaching)
       WHERE id = \(vm)
      """)
  }

  /// It does not any more. With `request`: it has.
  static func forgetting(of vm: VMID, request: VMRequestID? = nil) -> SQL {
    """
    UPDATE vms SET memory_snapshot_id = NULL, memory_request = NULL, memory_epochs = NULL
     WHERE id = \(vm) AND memory_request = coalesce(\(request)::uuid, memory_request)
    """
  }
}

extension VMRecord {
  /// What it has to be for its memory to be loaded.
  var shape: MachineShape {
    MachineShape(
      vcpus: vcpus, memoryMib: memoryMiB,
      disks: disks.filter { !$0.isLeaving && !$0.isDeleted }.map { .init(volume: $0.volume, bus: $0.bus) },
      nics: nics.filter { !$0.isLeaving }.map { .init(id: $0.id, mac: $0.mac) })
  }
}
