import AloftModel

extension RBDPool {
  func look(_ volume: VolumeID) async throws(AgentFailure) -> VolumeLook {
    let manifest: RBDManifest
    switch try await record(of: volume) {
    case .absent: return .absent
    case .damaged(let what): return .damaged(what)
    case .known(let known): manifest = known
    }
    guard let head = manifest.head else {
      if manifest.copy == nil { try await forget(manifest) }
      return .absent
    }
    var used = 0
    var sizeBytes = 0
    for image in manifest.images.sorted() {
      guard let usage = try await images.usage(of: image) else {
        return .damaged("its image \(rbd.access.pool)/\(image) is missing")
      }
      used += usage.usedBytes
      if image == head { sizeBytes = usage.sizeBytes }
      if let lost = manifest.snapshots.first(where: {
        $0.image == image && $0.takenAt != nil && !usage.snapshots.contains($0.id.description)
      }) {
        return .damaged("its snapshot \(rbd.access.pool)/\(image)@\(lost.id) is missing")
      }
    }
    return .whole(
      StoredVolume(
        epoch: manifest.epoch, sizeBytes: sizeBytes, usedBytes: used,
        snapshots: manifest.snapshots.map { .init(id: $0.id, takenAt: $0.takenAt, quiesced: $0.quiesced) },
        source: source(head), depth: manifest.depth))
  }

  /// Clears away a volume that was not made to the end.
  func forget(_ manifest: RBDManifest) async throws(AgentFailure) {
    for image in manifest.garbage { try await discard(image) }
    try await discard(RBDName.record(manifest.volume))
  }

  func create(
    _ volume: VolumeID, sizeBytes: Int, from source: VolumeAssignment.Source?
  ) async throws(AgentFailure) {
    let image = RBDName.data(volume, 0)
    switch try await record(of: volume) {
    case .known(let manifest):
      guard manifest.head == nil else { return }
      try await discard(image)
    case .damaged(let what): throw AgentFailure(.volumeDamaged, what)
    // An image that is there all the same is of a volume whose record is lost: it is not deleted, and making it fails.
    case .absent: break
    }
    var manifest = RBDManifest(volume: volume, garbage: [image])
    try await write(manifest, first: true)
    manifest.depth = try await make(image, sizeBytes: sizeBytes, over: try await origin(of: volume, source))
    manifest.head = image
    manifest.garbage = []
    try await write(manifest)
  }

  /// What a new image is cloned from, and how many images lie under each other there.
  private typealias Origin = (image: String, snapshot: String, depth: Int)

  private func origin(
    of volume: VolumeID, _ source: VolumeAssignment.Source?
  ) async throws(AgentFailure) -> Origin? {
    if let image = source?.image { return (RBDName.image(image.sha256), RBDName.baseSnapshot, 1) }
    guard let snapshot = source?.snapshot, let original = source?.volume else { return nil }
    guard let base = try await manifest(of: original).snapshot(snapshot), base.takenAt != nil else {
      throw AgentFailure(
        .volumeDamaged,
        "pool \(name) has no snapshot \(snapshot) of \(original), which \(volume) is to be cloned from")
    }
    return (base.image, base.id.description, base.depth)
  }

  /// Makes an image that is not there, and returns how deep it lies.
  private func make(_ image: String, sizeBytes: Int, over origin: Origin?) async throws(AgentFailure) -> Int {
    try checkpoint("making an image")
    guard let origin else {
      try await images.create(image, sizeBytes: sizeBytes)
      return 1
    }
    try await images.clone(origin.image, at: origin.snapshot, as: image)
    guard let usage = try await images.usage(of: image) else {
      throw AgentFailure(.changedMeanwhile, "\(rbd.access.pool)/\(image) has vanished")
    }
    guard sizeBytes >= usage.sizeBytes else {
      throw AgentFailure(
        .hypervisorRefused,
        "\(image) is to have \(sizeBytes) bytes, but what it is cloned from has \(usage.sizeBytes)")
    }
    if sizeBytes > usage.sizeBytes { try await resize(image, to: sizeBytes) }
    guard origin.depth >= maximumDepth else { return origin.depth + 1 }
    try checkpoint("flattening an image")
    try await rbd.run("flatten", "--no-progress", image)
    return 1
  }

  private func resize(_ image: String, to sizeBytes: Int) async throws(AgentFailure) {
    try checkpoint("growing an image")
    try await images.resize(image, to: sizeBytes)
  }

  func grow(_ volume: VolumeID, to sizeBytes: Int) async throws(AgentFailure) {
    guard let head = try await manifest(of: volume).head, let usage = try await images.usage(of: head) else {
      throw AgentFailure(.volumeDamaged, "\(volume) has no image in pool \(name)")
    }
    if usage.sizeBytes < sizeBytes { try await resize(head, to: sizeBytes) }
  }

  func revert(
    _ volume: VolumeID, to snapshot: SnapshotID, epoch: Int, sizeBytes: Int
  ) async throws(AgentFailure) {
    var manifest = try await manifest(of: volume)
    guard manifest.epoch < epoch else { return try await collect(manifest) }
    guard let base = manifest.snapshot(snapshot), base.takenAt != nil, let old = manifest.head else {
      throw AgentFailure(.volumeDamaged, "\(volume) has no snapshot \(snapshot) to go back to")
    }
    guard let usage = try await images.usage(of: old) else {
      throw AgentFailure(.volumeDamaged, "\(rbd.access.pool)/\(old) is missing")
    }
    let image = RBDName.data(volume, epoch)
    manifest.garbage = manifest.garbage.filter { $0 != image } + [image]
    try await write(manifest)
    try await discard(image)
    manifest.depth = try await make(
      image, sizeBytes: max(sizeBytes, usage.sizeBytes), over: (base.image, base.id.description, base.depth))
    manifest.garbage.removeAll { $0 == image }
    manifest.head = image
    manifest.epoch = epoch
    manifest.drop(old)
    try await write(manifest)
    try await collect(manifest)
  }

  func delete(_ volume: VolumeID) async throws(AgentFailure) {
    var doomed: Set<String> = []
    switch try await record(of: volume) {
    case .absent: return try await discard(RBDName.record(volume))
    case .known(let manifest): doomed = manifest.images.union(manifest.garbage)
    case .damaged:
      doomed = Set(try await images.names().filter { $0.hasPrefix(RBDName.record(volume) + ".") })
    }
    for image in doomed.sorted() { try await discard(image) }
    try await discard(RBDName.record(volume))
  }

  /// There is nothing to merge: Ceph keeps what clones need.
  func merge(_ merge: LayerMerge) async throws(AgentFailure) {}
  func beginPull(_ merge: LayerMerge) async throws(AgentFailure) {}
  func settlePull(_ merge: LayerMerge) async throws(AgentFailure) {}
  func undoPull(_ merge: LayerMerge) async throws(AgentFailure) {}
}
