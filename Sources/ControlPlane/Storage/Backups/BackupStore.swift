import AloftModel
import Foundation
import Postgres

/// The rows of `backups` and `backup_chunks`.
///
/// Invariants:
/// - A row that is being made has an open operation, and ends with it, once.
/// - What a node keeps for backups, `keeps_snapshot`, changes only in a transaction that changes the volume's document, which locks the
///   volume first.
/// - A chunk that the manifest of a backup names was sent by it or is named by the manifest of `earlier`, which is not deleted while the
///   backup is made. So what no manifest names is never named again.
/// - A backup of an encrypted volume has the key of that one until it is deleted or has failed.
enum BackupStore {
  /// How long making one may take.
  static let seconds = 24 * 3600
  /// How often in a row the node may fail.
  static let mostFailures = 10

  /// What a new one is.
  struct Wish: Sendable {
    var id: BackupID
    var snapshot: SnapshotID
    var operation: OperationID
    var name: String
    var labels: String
    /// All of the volume is to be read.
    var full: Bool
    /// The volume's schedule asks for it.
    var isScheduled = false
  }

  /// Begins a backup of a volume that the caller has locked and found fit. Returns whose agent is to be woken.
  static func begin(
    _ wish: Wish, of volume: VolumeRecord, sealing: SealingKey, author: OperationStore.Author, in session: Session
  ) throws -> Set<Topic> {
    let other = try session.someNames(
      "SELECT name FROM backups WHERE volume_id = \(volume.id) AND state = 'creating' AND deleted_at IS NULL ORDER BY name"
    )
    if let other {
      throw Problem(.inUse, "volume \(volume.name) is being backed up already: \(other); wait until that is done")
    }
    let chunkBytes = BackupManifest.chunkBytes(of: volume.facts.intent.sizeGiB << 30)
    let earlier = try session.one(
      """
      SELECT id, keeps_snapshot AND taken_at IS NOT NULL FROM backups
       WHERE volume_id = \(volume.id) AND project_id = \(volume.project) AND state = 'available' AND deleted_at IS NULL
         AND chunk_bytes = \(chunkBytes)
       ORDER BY id DESC LIMIT 1
      """)
    let isIncremental = try earlier?.get(1, as: Bool.self) == true && !wish.full
    let key = volume.isEncrypted ? try sealing.key(of: volume.id, for: wish.id, in: session) : nil
    let intended = try VolumeStore.intend(volume.id, in: session)
    try session.execute(
      """
      INSERT INTO backups (id, project_id, name, labels, volume_id, volume_name, size_gib, chunk_bytes, snapshot_id, earlier_id,
                           is_incremental, scheduled, encrypted, sealed_key)
      VALUES (\(wish.id), \(volume.project), \(wish.name), \(JSONText(wish.labels))::jsonb, \(volume.id), \(volume.name),
              \(volume.facts.intent.sizeGiB), \(chunkBytes), \(wish.snapshot), \(try earlier?.get(0, as: UUID.self)),
              \(isIncremental), \(wish.isScheduled), \(volume.isEncrypted), \(key))
      """
    ) { ResourceStore<BackupRecord>.refusal(of: $0, name: wish.name) }
    try EventStore.append(
      .backupCreated, project: volume.project, resource: wish.id.uuid, data: ["name": wish.name], in: session)
    try OperationStore.accept(
      wish.operation, .createBackup, project: volume.project, of: .backup, wish.id.uuid, generation: 0,
      seconds: seconds, author: author, in: session)
    return intended.node.map { [.node($0.uuid)] } ?? []
  }

  /// Whether deleted or not.
  static func find(_ id: BackupID, in session: Session) throws -> BackupRecord? {
    try ResourceStore<BackupRecord>.find(id, in: session)
  }

  /// What a node is to send, if it is: of one of its volumes.
  static func find(_ id: BackupID, madeOn node: NodeID, in session: Session) throws -> BackupRecord? {
    let isWanted = try session.one(
      """
      SELECT 1 FROM backups b JOIN volumes v ON v.id = b.volume_id
       WHERE b.id = \(id) AND b.state = 'creating' AND b.deleted_at IS NULL AND v.node_id = \(node)
      """)
    return isWanted == nil ? nil : try find(id, in: session)
  }

  /// Whether a node may read a backup: it restores a volume from it, or builds another backup on it.
  static func find(_ id: BackupID, readOn node: NodeID, in session: Session) throws -> BackupRecord? {
    let isWanted = try session.one(
      """
      SELECT 1 WHERE EXISTS (SELECT 1 FROM volumes v WHERE v.source_backup_id = \(id) AND v.node_id = \(node))
                  OR EXISTS (SELECT 1 FROM volumes v WHERE v.base_backup_id = \(id) AND v.node_id = \(node))
                  OR EXISTS (SELECT 1 FROM backups b JOIN volumes v ON v.id = b.volume_id
                              WHERE b.earlier_id = \(id) AND b.state = 'creating' AND v.node_id = \(node))
      """)
    return isWanted == nil ? nil : try find(id, in: session)
  }

  /// The backups that are being made of a volume.
  static func makers(of volume: VolumeID, in session: Session) throws -> String? {
    try session.someNames(
      "SELECT name FROM backups WHERE volume_id = \(volume) AND state = 'creating' AND deleted_at IS NULL ORDER BY name"
    )
  }

  /// The volumes that are being restored from a backup, and the backups that are being built on it.
  static func users(of id: BackupID, in session: Session) throws -> String? {
    try session.someNames(
      """
      SELECT name FROM (SELECT name FROM volumes WHERE source_backup_id = \(id) OR base_backup_id = \(id)
                        UNION SELECT name FROM backups WHERE earlier_id = \(id)) u ORDER BY name
      """)
  }

  /// Takes over that an agent has taken the snapshots that only backups know.
  static func taking(_ snapshots: [VolumeObservation.Snapshot], of volume: VolumeID) -> [SQL] {
    snapshots.map { seen in
      """
      UPDATE backups SET taken_at = to_timestamp(\(Double(seen.takenAt) / 1000)::float8), quiesced = \(seen.quiesced)
       WHERE snapshot_id = \(seen.id) AND volume_id = \(volume) AND keeps_snapshot AND taken_at IS NULL
      """
    }
  }

  /// Counts attempts that brought nothing; returns how many there are in a row now.
  static func count(_ id: BackupID, failed: Bool, in session: Session) throws -> Int {
    try session.one(
      "UPDATE backups SET failures = CASE WHEN \(failed) THEN failures + 1 ELSE 0 END WHERE id = \(id) RETURNING failures"
    )?.get(0) ?? 0
  }

  // MARK: The end

  /// What is known of one that was made.
  struct Made: Sendable {
    var manifest: BackupManifest
    var sha256: String
  }

  /// Ends the making of a backup with its operation: by `made`, or by a failure. Returns whether it had not ended before.
  @discardableResult
  static func end(
    _ backup: BackupRecord, made: Made? = nil, failure: (OperationFailure, String)? = nil, in session: Session,
    _ effects: inout Effects
  ) throws -> Bool {
    try VolumeStore.hold([backup.volume.uuid], and: nil, in: session)
    let count = try session.execute(
      """
      UPDATE backups SET state = \(made == nil ? BackupState.failed : .available), earlier_id = NULL,
             keeps_snapshot = \(made != nil), reading = \(made?.manifest.reading), read_bytes = \(made?.manifest.readBytes),
             chunks = \(made?.manifest.chunks.count), manifest_sha256 = \(made?.sha256), failure = \(failure?.1),
             sealed_key = CASE WHEN \(made != nil) THEN sealed_key END, failures = 0, revision = revision + 1,
             updated_at = aloft_now()
       WHERE id = \(backup.id) AND state = 'creating' AND deleted_at IS NULL
      """)
    guard count == 1 else { return false }
    if made != nil {
      try session.execute(
        "UPDATE backups SET keeps_snapshot = false WHERE volume_id = \(backup.volume) AND id <> \(backup.id) AND keeps_snapshot"
      )
    }
    let intended = try VolumeStore.intend(backup.volume, in: session)
    if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
    let outcome = failure.map { OperationOutcome.failed($0.0, $0.1) } ?? .succeeded
    try settle(backup, outcome, in: session, &effects)
    try EventStore.append(
      .backupUpdated, project: backup.project, resource: backup.id.uuid, data: ["name": backup.name], in: session)
    try session.execute(WorkQueue.hastening(.backupSchedule, backup.volume.uuid))
    effects.wake.insert(.work)
    // What a failed one has sent is cleared away.
    try WorkQueue.wake(.backup, backup.id.uuid, in: session)
    effects.wake.formUnion([.images, .events])
    return true
  }

  /// Ends the open operations of a backup.
  static func settle(
    _ backup: BackupRecord, _ outcome: OperationOutcome, in session: Session, _ effects: inout Effects
  ) throws {
    let open = try OperationStore.open(try session.query(OperationStore.opened(resource: backup.id.uuid)))
    let outcomes = Dictionary(uniqueKeysWithValues: open.map { ($0.id, outcome) })
    _ = try session.pipeline(
      OperationStore.settling(open, outcomes, project: backup.project, effects: &effects))
  }

  /// Makes the deletion of a backup, whose volume and row the caller has locked, what is wanted.
  static func delete(_ backup: BackupRecord, in session: Session, _ effects: inout Effects) throws {
    try session.execute(
      """
      UPDATE backups SET deleted_at = aloft_now(), keeps_snapshot = false, earlier_id = NULL, sealed_key = NULL,
                         revision = revision + 1, updated_at = aloft_now()
       WHERE id = \(backup.id)
      """)
    let intended = try VolumeStore.intend(backup.volume, in: session)
    if let node = intended.node { effects.wake.insert(.node(node.uuid)) }
    try settle(backup, .failed(.superseded, "overtaken by the deletion of the backup"), in: session, &effects)
    try EventStore.append(
      .backupDeleted, project: backup.project, resource: backup.id.uuid, data: ["name": backup.name], in: session)
    try WorkQueue.wake(.backup, backup.id.uuid, in: session)
    effects.wake.formUnion([.images, .events])
  }
}
