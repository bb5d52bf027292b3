import AloftModel
import Foundation
import Logging
import ObjectStorage
import Postgres

/// What there is to do about a backup that nobody waits for: ending the making of one that cannot come to a good end, verifying,
/// clearing away what is not needed. One replica at a time does it for a backup.
struct BackupWork: Sendable {
  let plane: Plane

  /// When to look again whether making one can still come to a good end.
  private static let pause = Duration.seconds(10)
  /// When to look again after something that is needed to tell what is not needed could not be read.
  private static let longPause = Duration.seconds(600)

  /// Returns when to look again; nil: there is nothing left to do.
  func attend(_ id: BackupID) async throws -> Duration? {
    guard let backup = try await plane.database.run({ session in try BackupStore.find(id, in: session) }) else {
      return nil
    }
    if backup.state == .creating, !backup.isDeleted { return try await attend(making: backup) }
    if !backup.isDeleted, let operation = backup.operation, operation.kind == .verifyBackup {
      try await BackupVerification(plane: plane, backup: backup, operation: operation).run()
    }
    return try await clear(backup)
  }

  // MARK: Making

  private func attend(making backup: BackupRecord) async throws -> Duration? {
    let volume = backup.volume
    let obstacle = try await plane.database.run { session -> (OperationFailure, String)? in
      let late = try session.one(
        """
        SELECT 1 FROM operations WHERE resource_id = \(backup.id) AND finished_at IS NULL AND deadline < aloft_now()
        """)
      if late != nil {
        return (.deadlineExceeded, "the node did not make it in \(BackupStore.seconds / 3600) hours")
      }
      // A volume in a pool that nodes share gets another one.
      let row = try session.one(
        """
        SELECT v.deleted_at IS NULL, v.node_id IS NULL AND s.kind <> 'rbd'
          FROM volumes v JOIN storage_pools s ON s.id = v.pool_id WHERE v.id = \(volume)
        """)
      guard let row, try row.get(0, as: Bool.self) else {
        return (.superseded, "overtaken by the deletion of its volume")
      }
      return try row.get(1, as: Bool.self) ? (.nodeRemoved, "the volume's node was removed") : nil
    }
    guard let obstacle else { return Self.pause }
    let effects = try await plane.database.transaction { session -> Effects in
      var effects = Effects()
      try BackupStore.end(backup, failure: obstacle, in: session, &effects)
      return effects
    }
    plane.wakeups.signal(effects.wake)
    return .zero
  }

  // MARK: Clearing away

  /// What a backup of the volume is, as far as it matters.
  private struct Sibling: Sendable {
    var record: BackupRecord
    var isDoomed: Bool { record.isDeleted || record.state == .failed }
  }

  /// Removes what no backup of the volume needs any more. What no manifest names now is never named again (``BackupStore``), so nothing is
  /// locked meanwhile.
  private func clear(_ backup: BackupRecord) async throws -> Duration? {
    let (volume, project) = (backup.volume, backup.project)
    let siblings = try await plane.database.run { session in
      try session.query(
        """
        SELECT \(fragment: BackupRecord.columns) FROM backups r \(fragment: BackupRecord.joins)
         WHERE r.volume_id = \(volume) AND r.project_id = \(project) AND (r.state <> 'creating' OR r.deleted_at IS NOT NULL)
        """
      ).map { Sibling(record: try BackupRecord($0)) }
    }
    let doomed = siblings.filter(\.isDoomed)
    if doomed.isEmpty { return nil }
    let contents = BackupContents(store: plane.images.store, project: project)
    var needed: [BackupID: Set<ChunkHash>] = [:]
    for sibling in siblings where !sibling.isDoomed {
      do {
        for chunk in try await contents.manifest(of: sibling.record).manifest.named {
          needed[chunk.owner, default: []].insert(chunk.hash)
        }
      } catch let problem as Problem where problem.code == .backupDamaged {
        plane.logger.warning(
          "what a damaged backup needs is not known; nothing is removed",
          metadata: ["backup": "\(sibling.record.id)", "problem": "\(problem.detail)"])
        return Self.longPause
      }
    }
    for sibling in doomed { try await clear(sibling.record, but: needed[sibling.record.id] ?? [], contents) }
    return nil
  }

  private func clear(_ backup: BackupRecord, but needed: Set<ChunkHash>, _ contents: BackupContents) async throws {
    let id = backup.id
    let sent = try await plane.database.run { session in
      try session.query("SELECT sha256 FROM backup_chunks WHERE backup_id = \(id)").compactMap {
        ChunkHash(try $0.get(0, as: [UInt8].self))
      }
    }
    let unneeded = sent.filter { !needed.contains($0) }
    for start in stride(from: 0, to: unneeded.count, by: 100) {
      let batch = Array(unneeded[start..<min(start + 100, unneeded.count)])
      for hash in batch { try await contents.remove(hash, of: id) }
      // Behind the objects: what a row names is looked after.
      try await plane.database.transaction { session in
        try session.execute("SELECT 1 FROM backups WHERE id = \(id) FOR NO KEY UPDATE")
        try session.execute(
          """
          WITH gone AS (DELETE FROM backup_chunks
                         WHERE backup_id = \(id) AND encode(sha256, 'hex') = ANY(\(batch.map(\.description)))
                         RETURNING CASE WHEN stored THEN bytes ELSE 0 END AS bytes)
          UPDATE backups SET stored_bytes = stored_bytes - (SELECT coalesce(sum(bytes), 0) FROM gone) WHERE id = \(id)
          """)
      }
    }
    try await contents.removeManifests(of: id)
    guard backup.isDeleted, unneeded.count == sent.count else { return }
    plane.wakeups.signal(
      try await plane.database.transaction { session -> Set<Topic> in
        let isEmpty = try session.one("SELECT 1 FROM backup_chunks WHERE backup_id = \(id) LIMIT 1") == nil
        guard isEmpty else { return [] }
        try session.execute("DELETE FROM backups WHERE id = \(id) AND deleted_at IS NOT NULL")
        // Whoever empties the project waits for this.
        try session.execute(WorkQueue.hastening(.project, backup.project.uuid))
        return [.work]
      })
  }
}

/// Reads all of a backup and compares.
struct BackupVerification: Sendable {
  let plane: Plane
  let backup: BackupRecord
  let operation: OperationRecord

  private static let showing: TimeInterval = 1

  func run() async throws {
    let contents = BackupContents(store: plane.images.store, project: backup.project)
    do {
      let manifest = try await contents.manifest(of: backup).manifest
      try await compare(manifest, contents)
    } catch let problem as Problem where problem.code == .backupDamaged {
      try await end(damagedBytes: backup.sizeGiB << 30, problem.detail)
    }
  }

  private func compare(_ manifest: BackupManifest, _ contents: BackupContents) async throws {
    var places: [BackupManifest.Chunk: [Int]] = [:]
    for (index, chunk) in manifest.chunks { places[chunk, default: []].append(index) }
    let total = manifest.chunks.keys.reduce(0) { $0 + manifest.bytes(at: $1) }
    var (done, damagedChunks, damagedBytes) = (0, 0, 0)
    var shown = -Self.showing
    for (chunk, indices) in places {
      guard let first = indices.first else { continue }
      let bytes = indices.reduce(0) { $0 + manifest.bytes(at: $1) }
      if try await !contents.isWhole(chunk, bytes: manifest.storedBytes(at: first)) {
        damagedChunks += indices.count
        damagedBytes += bytes
      }
      done += bytes
      let now = plane.environment.uptime()
      guard now - shown >= Self.showing else { continue }
      shown = now
      let (id, bytesDone) = (operation.id, done)
      let isWanted = try await plane.database.run { session in
        try ImageCaptureStore.show(id, "verifying", done: bytesDone, of: total, in: session)
      }
      if !isWanted { return }
    }
    let detail =
      damagedChunks == 0
      ? nil : "\(damagedChunks) of \(manifest.chunks.count) parts, \(damagedBytes) bytes, are missing or damaged"
    try await end(damagedBytes: damagedBytes, detail)
  }

  private func end(damagedBytes: Int, _ detail: String?) async throws {
    let backup = backup
    let effects = try await plane.database.transaction { session -> Effects in
      var effects = Effects()
      let count = try session.execute(
        """
        UPDATE backups SET state = \(detail == nil ? BackupState.available : .damaged), damaged_bytes = \(damagedBytes),
               verified_at = aloft_now(), failure = \(detail), revision = revision + 1, updated_at = aloft_now()
         WHERE id = \(backup.id) AND state IN ('available', 'damaged') AND deleted_at IS NULL
        """)
      guard count == 1 else { return effects }
      let outcome = detail.map { OperationOutcome.failed(.backupDamaged, $0) } ?? .succeeded
      try BackupStore.settle(backup, outcome, in: session, &effects)
      try EventStore.append(
        .backupUpdated, project: backup.project, resource: backup.id.uuid, data: ["name": backup.name], in: session)
      return effects
    }
    plane.wakeups.signal(effects.wake)
  }
}
