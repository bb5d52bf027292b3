import AloftModel
import Foundation
import Postgres

/// The documents of a node's volumes that changed.
struct AssignedVolumes {
  var documents: [VolumeAssignment]
  /// The count of the last one, where there are more behind it; nil: these are all.
  var end: Int?

  private struct Snapshot: Decodable {
    var id: UUID
    var isTaken: Bool
    var quiesce: Bool
    var volumes: [UUID]
    var memory: UUID?

    var assigned: VolumeAssignment.Snapshot {
      VolumeAssignment.Snapshot(
        id: SnapshotID(id), isTaken: isTaken, volumes: volumes.map { VolumeID($0) }, quiesce: quiesce,
        memory: memory.map { VolumeID($0) })
    }
  }

  private struct Export: Decodable {
    var image: UUID
    var snapshot: UUID

    var assigned: VolumeAssignment.Export {
      VolumeAssignment.Export(image: ImageID(image), snapshot: SnapshotID(snapshot))
    }
  }

  private struct Backup: Decodable {
    var backup: UUID
    var snapshot: UUID
    var earlier: UUID?
    var base: UUID?
    var chunkBytes: Int

    var assigned: VolumeAssignment.Backup {
      VolumeAssignment.Backup(
        backup: BackupID(backup), snapshot: SnapshotID(snapshot), earlier: earlier.map { BackupID($0) },
        base: base.map { SnapshotID($0) }, chunkBytes: chunkBytes)
    }
  }

  /// The snapshots that a volume `v` is to have: those of users, and those that only the making of an image, or backups know.
  private static let snapshots: SQL = """
    SELECT jsonb_agg(a.snapshot ORDER BY a.snapshot->>'id') FROM (
      SELECT jsonb_build_object('id', t.id, 'is_taken', m.taken_at IS NOT NULL, 'quiesce', t.quiesce,
               'volumes', (SELECT jsonb_agg(a.volume_id ORDER BY a.volume_id) FROM volume_snapshots a
                            WHERE a.snapshot_id = t.id),
               'memory', (SELECT k.volume_id FROM snapshot_memories k WHERE k.snapshot_id = t.id))
        FROM volume_snapshots m JOIN snapshots t ON t.id = m.snapshot_id
       WHERE m.volume_id = v.id AND t.deleted_at IS NULL
      UNION ALL
      SELECT jsonb_build_object('id', c.snapshot_id, 'is_taken', c.taken_at IS NOT NULL, 'quiesce', true,
               'volumes', jsonb_build_array(c.volume_id))
        FROM image_captures c WHERE c.volume_id = v.id AND c.is_own AND c.ended_at IS NULL
      UNION ALL
      SELECT jsonb_build_object('id', b.snapshot_id, 'is_taken', b.taken_at IS NOT NULL, 'quiesce', true,
               'volumes', jsonb_build_array(b.volume_id))
        FROM backups b WHERE b.volume_id = v.id AND b.keeps_snapshot
    ) a (snapshot)
    """

  /// The statement that ``init(_:)`` reads: those of the node that changed behind `after`, in the order of their changes.
  static func changed(on node: NodeID, after: Int, limit: Int) -> SQL {
    """
    SELECT v.id, v.generation, v.deleted_at IS NOT NULL, s.name, v.size_gib, v.vm_id, i.id, i.sha256, i.format, i.size_bytes,
           v.assignment_revision, count(*) OVER (), v.is_made, v.source_snapshot_id, v.source_volume_id, v.epoch, v.base_snapshot_id,
           (\(fragment: snapshots)),
           EXISTS (SELECT 1 FROM volume_snapshots a
                    WHERE a.snapshot_id = v.source_snapshot_id AND a.volume_id = v.source_volume_id AND a.taken_at IS NULL),
           v.next_node_id IS NOT NULL AND v.deleted_at IS NULL, v.fence,
           (SELECT jsonb_agg(jsonb_build_object('image', c.image_id, 'snapshot', c.snapshot_id) ORDER BY c.image_id)
              FROM image_captures c WHERE c.volume_id = v.id AND c.ended_at IS NULL),
           (SELECT jsonb_agg(jsonb_build_object('backup', b.id, 'snapshot', b.snapshot_id, 'earlier', b.earlier_id,
                       'base', CASE WHEN b.is_incremental THEN e.snapshot_id END, 'chunk_bytes', b.chunk_bytes) ORDER BY b.id)
              FROM backups b LEFT JOIN backups e ON e.id = b.earlier_id AND e.keeps_snapshot
             WHERE b.volume_id = v.id AND b.state = 'creating' AND b.deleted_at IS NULL),
           v.source_backup_id, v.base_backup_id, v.kept_epoch IS NOT DISTINCT FROM v.epoch,
           v.encrypted, CASE WHEN v.deleted_at IS NULL THEN v.sealed_key END,
           (SELECT g.name FROM storage_pools g WHERE g.id = v.moving_to), v.move_failure IS NOT NULL
      FROM nodes n JOIN volumes v ON v.node_id = n.id JOIN storage_pools s ON s.id = v.pool_id
           LEFT JOIN images i ON i.id = v.image_id
     WHERE n.id = \(node)
       AND v.assignment_revision > CASE WHEN \(after)::bigint > n.assignment_revision THEN 0 ELSE \(after)::bigint END
     ORDER BY v.assignment_revision LIMIT \(limit)
    """
  }

  /// - Parameter open: opens a volume's key; nil if that cannot be done here.
  init(_ rows: Rows, open: (VolumeID, [UInt8]) -> VolumeKey?) throws {
    documents = try rows.map { row in
      let isEncrypted = try row.get(26, as: Bool.self)
      let sealed = try row.get(27, as: [UInt8]?.self)
      let id = try row.get(0, as: VolumeID.self)
      return VolumeAssignment(
        volume: id, generation: try row.get(1), deleted: try row.get(2), isMade: try row.get(12),
        pool: try row.get(3),
        sizeBytes: try row.get(4, as: Int.self) << 30, source: try Self.source(row), vm: try row.get(5),
        snapshots: try row.list(17, of: Snapshot.self).map(\.assigned), epoch: try row.get(15), base: try row.get(16),
        released: try row.get(19) ? true : nil, fence: try row.get(20) ? true : nil,
        exports: try row.list(21, of: Export.self).map(\.assigned),
        backups: try row.list(22, of: Backup.self).map(\.assigned), restoring: try Self.restoring(row),
        encrypted: isEncrypted ? true : nil, key: sealed.flatMap { open(id, $0) }, move: try Self.move(row)
      ).marked
    }
    end = try rows.last.flatMap { try $0.get(11, as: Int.self) == rows.count ? nil : try $0.get(10, as: Int.self) }
  }

  private static func move(_ row: Row) throws -> VolumeAssignment.Move? {
    let isGivenUp = try row.get(29, as: Bool.self)
    return try row.get(28, as: String?.self).map { VolumeAssignment.Move(pool: $0, isGivenUp: isGivenUp) }
  }

  private static func restoring(_ row: Row) throws -> VolumeAssignment.Restoring? {
    if let backup = try row.get(24, as: BackupID?.self) { return .init(backup: backup) }
    return try row.get(25) ? .init(backup: nil) : nil
  }

  private static func source(_ row: Row) throws -> VolumeAssignment.Source? {
    if let snapshot = try row.get(13, as: SnapshotID?.self), let volume = try row.get(14, as: VolumeID?.self) {
      return VolumeAssignment.Source(snapshot: snapshot, of: volume, isAwaited: try row.get(18))
    }
    if let backup = try row.get(23, as: BackupID?.self) { return VolumeAssignment.Source(backup: backup) }
    guard let image = try row.get(6, as: ImageID?.self) else { return nil }
    return VolumeAssignment.Source(
      image: Assignment.BaseImage(
        id: image, sha256: try row.get(7), format: try row.get(8), sizeBytes: try row.get(9)))
  }
}
