import AloftModel

// A snapshot is taken in three steps: its volumes' manifests say that it is begun; the images get it while their guest stands
// still; the manifests say that it is taken. Whoever goes on after a crash takes it anew, at another instant, as long as no manifest
// says that it is taken; once one does, all images have it, of the same instant.

extension RBDPool {
  /// Says that it is begun. One that was begun before and not finished is of another instant, and goes.
  func beginSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> DiskSource {
    var manifest = try await manifest(of: volume)
    guard let head = manifest.head else { throw AgentFailure(.volumeDamaged, "\(volume) is not made") }
    if let begun = manifest.snapshot(snapshot) {
      if begun.takenAt == nil { try await remove(begun) }
    } else {
      manifest.snapshots.append(
        .init(id: snapshot, image: head, depth: manifest.depth, takenAt: nil, quiesced: false))
      try await write(manifest)
    }
    return source(head)
  }

  func captureSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) {
    guard let begun = try await manifest(of: volume).snapshot(snapshot), begun.takenAt == nil else {
      throw AgentFailure(.changedMeanwhile, "the snapshot \(snapshot) of \(volume) is not begun")
    }
    try checkpoint("taking a snapshot")
    try await images.createSnapshot(begun.id.description, of: begun.image)
  }

  func finishSnapshot(
    _ snapshot: SnapshotID, of volume: VolumeID, takenAt: Int, quiesced: Bool
  ) async throws(AgentFailure) {
    var manifest = try await manifest(of: volume)
    guard let index = manifest.snapshots.firstIndex(where: { $0.id == snapshot }) else {
      throw AgentFailure(.volumeDamaged, "\(volume) has no snapshot \(snapshot)")
    }
    guard manifest.snapshots[index].takenAt == nil else { return }
    manifest.snapshots[index].takenAt = takenAt
    manifest.snapshots[index].quiesced = quiesced
    try await write(manifest)
  }

  func deleteSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) {
    var manifest = try await manifest(of: volume)
    if let doomed = manifest.snapshot(snapshot) {
      try await remove(doomed)
      manifest.snapshots.removeAll { $0.id == snapshot }
      manifest.drop(doomed.image)
      try await write(manifest)
    }
    try await collect(manifest)
  }

  private func remove(_ snapshot: RBDManifest.Snapshot) async throws(AgentFailure) {
    try checkpoint("deleting a snapshot")
    try await images.removeSnapshot(snapshot.id.description, of: snapshot.image)
  }
}
