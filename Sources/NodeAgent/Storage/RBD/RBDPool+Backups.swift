import AloftModel

// A snapshot is read through a clone that is made for that alone: whoever opens the image itself, even to read an old snapshot of it,
// counts for Ceph like a guest that has the volume open. A volume's manifest is not touched for it, so steps go on meanwhile.

extension RBDPool {
  func read(
    _ backup: VolumeAssignment.Backup, of volume: VolumeID,
    _ body: @Sendable (any BackupSource) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) {
    let manifest = try await manifest(of: volume)
    guard let snapshot = manifest.snapshot(backup.snapshot), snapshot.takenAt != nil else {
      throw AgentFailure(.volumeDamaged, "pool \(name) has no snapshot \(backup.snapshot) of \(volume)")
    }
    let image = "\(snapshot.image)@\(snapshot.id)"
    var reading = BackupReading.full
    var ranges: [Range<Int>]?
    // RBD tells what differs between snapshots of one image.
    if let id = backup.base, let base = manifest.snapshot(id), base.takenAt != nil, base.image == snapshot.image {
      ranges = try await rbd.extents(of: image, since: base.id.description)
      if ranges != nil { reading = .incremental }
    }
    if ranges == nil { ranges = try await rbd.extents(of: image, since: nil) }
    guard let ranges else {
      throw AgentFailure(.volumeDamaged, "the snapshot \(rbd.access.pool)/\(image) is missing")
    }
    let folder = cache.exportsFolder
    let way = reading
    try await withTemporary { clone async throws(AgentFailure) in
      try checkpoint("cloning a snapshot to read it")
      try await images.clone(snapshot.image, at: snapshot.id.description, as: clone)
      let disk = try await NBDDisk.open(clone, of: rbd.access, in: folder, isWritable: false)
      let result = await attempt { () async throws(AgentFailure) in
        try await body(DiskReading(disk: disk, reading: way, ranges: ranges, chunkBytes: backup.chunkBytes))
      }
      try await disk.close()
      try result.get()
    }
  }

  func restore(
    _ volume: VolumeID, sizeBytes: Int, epoch: Int, needing bytes: Int,
    _ fill: @Sendable (any BackupTarget) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) {
    let image = RBDName.data(volume, epoch)
    var manifest = RBDManifest(volume: volume, epoch: epoch)
    let kept = try await record(of: volume)
    switch kept {
    case .known(let known):
      if known.head != nil, known.epoch >= epoch { return try await collect(known) }
      manifest = known
    case .damaged(let what): throw AgentFailure(.volumeDamaged, what)
    // An image that is there all the same is of a volume whose record is lost: it is not deleted, and making it fails.
    case .absent: break
    }
    guard latest.problem != nil || latest.freeBytes >= bytes else {
      throw AgentFailure(
        .diskFull, "pool \(name) has \(latest.freeBytes) bytes of room, and \(bytes) are to be restored")
    }
    manifest.garbage = manifest.garbage.filter { $0 != image } + [image]
    if case .absent = kept {
      try await write(manifest, first: true)
    } else {
      try await write(manifest)
      try await discard(image)
    }
    do throws(AgentFailure) {
      try await make(image, sizeBytes: sizeBytes, fill)
    } catch {
      // What cannot be cleared away now is with the next attempt, or with the volume.
      _ = await attempt { () async throws(AgentFailure) in
        if manifest.head == nil { try await forget(manifest) } else { try await collect(manifest) }
      }
      throw error
    }
    try await name(image, as: epoch, of: volume)
  }

  private func make(
    _ image: String, sizeBytes: Int, _ fill: @Sendable (any BackupTarget) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) {
    try checkpoint("making a restored image")
    try await images.create(image, sizeBytes: sizeBytes)
    let disk = try await NBDDisk.open(image, of: rbd.access, in: cache.exportsFolder, isWritable: true)
    let result = await attempt { () async throws(AgentFailure) in try await fill(disk) }
    try await disk.close(flushing: (try? result.get()) != nil)
    try result.get()
  }

  /// Makes a whole image a volume's content.
  private func name(_ image: String, as epoch: Int, of volume: VolumeID) async throws(AgentFailure) {
    // Filling it has taken long.
    var manifest = try await manifest(of: volume)
    guard manifest.garbage.contains(image) else {
      throw AgentFailure(.changedMeanwhile, "\(volume) was changed while it was restored")
    }
    try checkpoint("naming a restored image")
    let old = manifest.head
    manifest.garbage.removeAll { $0 == image }
    manifest.head = image
    manifest.depth = 1
    manifest.epoch = epoch
    if let old { manifest.drop(old) }
    try await write(manifest)
    try await collect(manifest)
  }

  func keep(_ volume: VolumeID, asEpoch epoch: Int) async throws(AgentFailure) {
    var manifest = try await manifest(of: volume)
    if manifest.epoch < epoch {
      manifest.epoch = epoch
      try await write(manifest)
    }
    // What was being restored.
    try await collect(manifest)
  }
}
