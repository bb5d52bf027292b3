import AloftModel
import Foundation
import Postgres

extension AgentAPI {
  /// Volumes in one transaction: short enough that nobody waits long for one of them.
  private static let volumeBatch = 50

  /// Takes over what an agent saw of volumes, some at a time, in the order of ids.
  func observe(_ volumes: [VolumeObservation], node: NodeID) async throws {
    var newest: [VolumeID: VolumeObservation] = [:]
    for observation in volumes where (newest[observation.volume]?.sequence ?? -1) < observation.sequence {
      newest[observation.volume] = observation
    }
    let ordered = newest.values.sorted { $0.volume.uuid.uuidString < $1.volume.uuid.uuidString }
    var unknown: [VolumeID] = []
    for start in stride(from: 0, to: ordered.count, by: Self.volumeBatch) {
      let batch = Array(ordered[start..<min(start + Self.volumeBatch, ordered.count)])
      let (known, effects) = try await plane.database.transaction { session in
        try Self.take(batch, of: node, in: session)
      }
      unknown += batch.map(\.volume).filter { !known.contains($0) }
      plane.wakeups.signal(effects.wake)
    }
    if !unknown.isEmpty {
      refused("observations of volumes", unknown.prefix(10).map(\.description).joined(separator: " "), node)
    }
  }

  /// Takes over one batch. Returns which volumes are of this node; no other is locked.
  private static func take(
    _ batch: [VolumeObservation], of node: NodeID, in session: Session
  ) throws -> (known: Set<VolumeID>, effects: Effects) {
    let ids = batch.map(\.volume.uuid)
    let results = try session.pipeline([
      "SELECT 1 FROM volumes WHERE node_id = \(node) AND id = ANY(\(ids)) ORDER BY id FOR UPDATE",
      // Looks at the database anew, behind the wait for the locks.
      """
      SELECT \(fragment: VolumeRecord.columns) FROM volumes r \(fragment: VolumeRecord.joins)
       WHERE r.node_id = \(node) AND r.id = ANY(\(ids))
      """,
    ])
    var volumes: [VolumeID: VolumeRecord] = [:]
    for row in results[1] {
      let volume = try VolumeRecord(row)
      volumes[volume.id] = volume
    }
    let current = batch.compactMap { observation in volumes[observation.volume].map { (observation, $0) } }
    let written = try session.pipeline(current.map { writing($0.0) })
    var effects = Effects()
    var last: [SQL] = []
    for ((observation, volume), rows) in zip(current, written) where rows.affected > 0 {
      var after = volume.facts
      after.observed = VolumeObserved(observation)
      // How much it takes changes all the time, and nobody waits for it.
      after.observed?.usedBytes = volume.facts.observed?.usedBytes
      if after == volume.facts { continue }
      let before = volume.facts.observed
      let taken = observation.snapshots.filter { before?.snapshots.contains($0.id.uuid) != true }
      last += SnapshotStore.taking(taken, of: volume.id) + ImageCaptureStore.taking(taken, of: volume.id)
      last += SnapshotMemory.writing(taken, beside: volume.id)
      last += BackupStore.taking(taken, of: volume.id)
      if observation.state != before?.state || observation.epoch != before?.epoch ?? 0 || !taken.isEmpty {
        last.append(VolumeStore.seen(observation, taken: taken.map(\.id.uuid)))
      }
      last.append(SnapshotStore.waking(of: volume.id))
      last.append(WorkQueue.waking(.volume, volume.id.uuid))
      effects.wake.insert(.work)
    }
    _ = try session.pipeline(last)
    return (Set(volumes.keys), effects)
  }

  /// Writes an observation if it is newer than what is known.
  private static func writing(_ seen: VolumeObservation) -> SQL {
    """
    INSERT INTO volume_observations AS o (volume_id, generation, state, size_bytes, used_bytes, activity, bytes_done,
                                          bytes_total, problem_code, problem_detail, sequence, epoch, snapshots, pool)
    VALUES (\(seen.volume), \(seen.generation), \(seen.state), \(seen.sizeBytes), \(seen.usedBytes), \(seen.activity),
            \(seen.bytesDone), \(seen.bytesTotal), \(seen.problem?.code), \(seen.problem?.detail), \(seen.sequence),
            \(seen.epoch), \(seen.snapshots.map(\.id.uuid)), \(seen.pool))
    ON CONFLICT (volume_id) DO UPDATE
       SET generation = excluded.generation, state = excluded.state, size_bytes = excluded.size_bytes,
           used_bytes = excluded.used_bytes, activity = excluded.activity, bytes_done = excluded.bytes_done,
           bytes_total = excluded.bytes_total, problem_code = excluded.problem_code,
           problem_detail = excluded.problem_detail, sequence = excluded.sequence, epoch = excluded.epoch,
           snapshots = excluded.snapshots, pool = excluded.pool, reported_at = excluded.reported_at
     WHERE o.sequence < excluded.sequence
    """
  }
}

extension VolumeObserved {
  fileprivate init(_ seen: VolumeObservation) {
    self.init(
      generation: seen.generation, state: seen.state, sizeBytes: seen.sizeBytes, usedBytes: seen.usedBytes,
      activity: seen.activity, bytesDone: seen.bytesDone, bytesTotal: seen.bytesTotal, problem: seen.problem,
      epoch: seen.epoch, snapshots: Set(seen.snapshots.map(\.id.uuid)), pool: seen.pool)
  }
}
