import AloftModel
import Foundation
import Postgres

/// The rows of `snapshots` and which volumes they are of.
enum SnapshotStore {
  /// How many snapshots a volume may have: each makes reading its oldest data a little slower.
  static let mostOfVolume = 32

  /// Locks the volumes of a snapshot, in order, then the snapshot; nil when it is gone.
  static func lock(_ id: SnapshotID, in session: Session) throws -> SnapshotRecord? {
    try session.execute(
      """
      SELECT 1 FROM volumes WHERE id IN (SELECT volume_id FROM volume_snapshots WHERE snapshot_id = \(id))
       ORDER BY id FOR UPDATE
      """)
    // Hidden ones, too. Not as a key: who makes a row that refers to a snapshot locks the node first, and waits here for nobody;
    // a snapshot is only removed by whoever holds its volumes, as these do.
    guard try session.one("SELECT 1 FROM snapshots WHERE id = \(id) FOR NO KEY UPDATE") != nil else { return nil }
    return try session.one(
      """
      SELECT \(fragment: SnapshotRecord.columns) FROM snapshots r \(fragment: SnapshotRecord.joins) WHERE r.id = \(id)
      """
    ).map { try SnapshotRecord($0) }
  }

  /// Refuses one more snapshot of volumes that have as many as they may have.
  static func requireRoom(_ volumes: [VolumeID], in session: Session) throws {
    let full = try session.one(
      """
      SELECT v.name FROM volume_snapshots m JOIN volumes v ON v.id = m.volume_id
       WHERE v.id = ANY(\(volumes.map(\.uuid))) GROUP BY v.id HAVING count(*) >= \(mostOfVolume) LIMIT 1
      """)
    guard let name = try full?.get(0, as: String.self) else { return }
    throw Problem(.limitReached, "a volume has at most \(mostOfVolume) snapshots; delete one of \(name)'s first")
  }

  /// Has a snapshot taken of a volume that the caller has locked, through which a clone is made, and which goes with that. Returns
  /// whose agent is to be woken.
  static func takeHidden(_ id: SnapshotID, of volume: VolumeRecord, in session: Session) throws -> Set<Topic> {
    try requireRoom([volume.id], in: session)
    let wake = try intend([volume.id], in: session)
    // The place of the clone before what the project uses, which the snapshot counts in.
    try session.execute(
      volume.pool.isLocal
        ? "SELECT 1 FROM storage_places WHERE pool_id = \(volume.pool.id) AND node_id = \(volume.nodeID) FOR UPDATE"
        : "SELECT 1 FROM storage_pools WHERE id = \(volume.pool.id) FOR NO KEY UPDATE")
    try session.execute(
      "INSERT INTO snapshots (id, project_id, name, hidden) VALUES (\(id), \(volume.project), '', true)")
    try session.execute(
      """
      INSERT INTO volume_snapshots (snapshot_id, volume_id, size_gib)
      VALUES (\(id), \(volume.id), \(volume.facts.intent.sizeGiB))
      """)
    return wake
  }

  /// Puts the documents of volumes, which are in the order of their ids, in front of their agents. `changes` are further
  /// assignments of the volumes, each with a comma behind it. Returns whose agents those are.
  static func intend(_ volumes: [VolumeID], _ changes: SQL = "", in session: Session) throws -> Set<Topic> {
    var wake: Set<Topic> = []
    if volumes.count > 1 { try VolumeStore.holdNodes(of: volumes.map(\.uuid), in: session) }
    for volume in volumes {
      let intended = try VolumeStore.intend(volume, changes, in: session)
      if let node = intended.node { wake.insert(.node(node.uuid)) }
    }
    return wake
  }

  /// Makes the deletion of a snapshot what is wanted. The nodes come first: whoever takes a snapshot with the name that becomes free
  /// holds a node already.
  static func delete(_ snapshot: SnapshotRecord, in session: Session) throws -> Set<Topic> {
    let wake = try intend(snapshot.volumes, in: session)
    try session.execute(
      """
      UPDATE snapshots SET deleted_at = coalesce(deleted_at, aloft_now()), revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(snapshot.id)
      """)
    return wake
  }

  /// Takes over that an agent has taken snapshots of a volume.
  static func taking(_ snapshots: [VolumeObservation.Snapshot], of volume: VolumeID) -> [SQL] {
    snapshots.map { seen in
      """
      UPDATE volume_snapshots SET taken_at = to_timestamp(\(Double(seen.takenAt) / 1000)::float8), quiesced = \(seen.quiesced)
       WHERE snapshot_id = \(seen.id) AND volume_id = \(volume) AND taken_at IS NULL
      """
    }
  }

  /// Has snapshots of a volume looked at that something is waited for of.
  static func waking(of volume: VolumeID) -> SQL {
    """
    INSERT INTO work (kind, id, due_at)
    SELECT \(WorkKind.snapshot.rawValue), m.snapshot_id, aloft_now()
      FROM volume_snapshots m JOIN snapshots s ON s.id = m.snapshot_id
     WHERE m.volume_id = \(volume)
       AND (s.deleted_at IS NOT NULL
            OR EXISTS (SELECT 1 FROM operations o WHERE o.resource_id = s.id AND o.finished_at IS NULL))
     ORDER BY m.snapshot_id
    ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
    """
  }

  /// Has all snapshots looked at that lose a volume, and the one that it was to be made from: they may go with it.
  static func wakingAll(losing volume: UUID) -> SQL {
    """
    INSERT INTO work (kind, id, due_at)
    SELECT \(WorkKind.snapshot.rawValue), id, aloft_now()
      FROM (SELECT snapshot_id FROM volume_snapshots WHERE volume_id = \(volume)
            UNION SELECT source_snapshot_id FROM volumes WHERE id = \(volume) AND source_snapshot_id IS NOT NULL) s (id)
     ORDER BY id
    ON CONFLICT (kind, id) DO UPDATE SET due_at = least(work.due_at, excluded.due_at), wakes = work.wakes + 1
    """
  }

  /// Whether a volume is being made from a snapshot.
  static func isSource(_ id: UUID, in session: Session) throws -> Bool {
    try session.one("SELECT 1 FROM volumes WHERE source_snapshot_id = \(id) LIMIT 1") != nil
  }
}
