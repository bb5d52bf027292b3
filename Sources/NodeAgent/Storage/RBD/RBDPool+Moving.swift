import AloftModel

// A volume that comes from another pool, or goes to one. Its record names the image that is being filled as `copy`, which is not its head:
// the volume is not here. One metadata write makes it the head, and one makes a volume that has gone elsewhere count here no more.

extension RBDPool {
  func copy(of volume: VolumeID) async throws(AgentFailure) -> DiskSource? {
    guard case .known(let manifest) = try await record(of: volume), let copy = manifest.copy else { return nil }
    return source(copy.image)
  }

  func origin(of volume: VolumeID) async throws(AgentFailure) -> CopyOrigin {
    let manifest = try await manifest(of: volume)
    guard let head = manifest.head, case .whole(let stored) = try await look(volume) else {
      throw AgentFailure(.volumeDamaged, "\(volume) is not whole in pool \(name)")
    }
    return CopyOrigin(
      arguments: ["-f", "raw", rbd.access.qemuName(head)], sizeBytes: stored.sizeBytes,
      usedBytes: manifest.depth > 1 ? stored.sizeBytes : min(stored.usedBytes, stored.sizeBytes), epoch: manifest.epoch)
  }

  func prepareCopy(of volume: VolumeID, _ origin: CopyOrigin) async throws(AgentFailure) -> DiskSource {
    guard origin.key == nil else {
      throw AgentFailure(.unsupported, "pool \(name) does not encrypt volumes")
    }
    try await discardCopy(of: volume)
    switch try await record(of: volume) {
    case .absent: break
    case .damaged(let what): throw AgentFailure(.volumeDamaged, what)
    case .known(let manifest):
      guard manifest.head == nil else { throw AgentFailure(.storage, "pool \(name) has \(volume) already") }
    }
    guard latest.problem != nil || latest.freeBytes >= origin.usedBytes else {
      throw AgentFailure(
        .diskFull, "pool \(name) has \(latest.freeBytes >> 20) MiB free; \(origin.usedBytes >> 20) MiB are needed")
    }
    // A name that no image of the volume has had: one that was let go of may be in use for a moment.
    let image = "\(RBDName.record(volume)).m\(UInt32.random(in: .min ... .max))"
    var manifest = RBDManifest(volume: volume, epoch: origin.epoch)
    manifest.copy = RBDManifest.Copy(image: image)
    try await write(manifest, first: true)
    try checkpoint("making a copy's image")
    try await images.create(image, sizeBytes: origin.sizeBytes)
    return source(image)
  }

  func fillCopy(
    of volume: VolumeID, from origin: CopyOrigin, _ progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    guard case .known(let manifest) = try await record(of: volume), let copy = manifest.copy else {
      throw AgentFailure(.changedMeanwhile, "no copy of \(volume) was begun in pool \(name)")
    }
    let handle = ToolHandle()
    copying[volume] = handle
    defer { copying[volume] = nil }
    let total = origin.usedBytes
    progress(0, total)
    let target = ["-n", "--target-is-zero", "-O", "raw"] + origin.arguments + [rbd.access.qemuName(copy.image)]
    try await Tool.copy(target, secret: origin.key, handle: handle) { part in
      progress(Int(part * Double(total)), total)
    }
  }

  func stopCopy(of volume: VolumeID) async { copying[volume]?.stop() }

  func adoptCopy(of volume: VolumeID) async throws(AgentFailure) {
    var manifest = try await manifest(of: volume)
    guard let copy = manifest.copy else {
      guard manifest.head == nil else { return }
      throw AgentFailure(.changedMeanwhile, "pool \(name) has no copy of \(volume)")
    }
    manifest.head = copy.image
    manifest.copy = nil
    try await write(manifest)
  }

  func discardCopy(of volume: VolumeID) async throws(AgentFailure) {
    guard case .known(let manifest) = try await record(of: volume), let copy = manifest.copy, manifest.head == nil
    else { return }
    try await discard(copy.image)
    try await discard(RBDName.record(volume))
  }

  func letGo(of volume: VolumeID) async throws(AgentFailure) {
    guard case .known(var manifest) = try await record(of: volume), manifest.head != nil else { return }
    manifest.garbage += manifest.images.sorted()
    manifest.head = nil
    manifest.snapshots = []
    try await write(manifest)
  }
}
