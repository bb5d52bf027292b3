import AloftModel
import Glibc

// What is read of a snapshot for a backup, and a volume whose content comes from one. Neither leaves anything behind when it is cut off:
// what is read has no copy here, and what is written has a name only when it is whole.

extension DirectoryPool {
  func read(
    _ backup: VolumeAssignment.Backup, of volume: VolumeID,
    _ body: @Sendable (any BackupSource) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) {
    guard let layer = graph.layer(of: backup.snapshot, of: volume) else {
      throw AgentFailure(.volumeDamaged, "pool \(name) has no snapshot \(backup.snapshot) of \(volume)")
    }
    // Nobody merges what is held.
    let chain = graph.chain(from: layer)
    for layer in chain { graph.hold(layer) }
    let result = await reading(layer, backup, of: volume, body)
    for layer in chain { graph.release(layer) }
    try collect()
    try result.get()
  }

  private func reading(
    _ layer: LayerID, _ backup: VolumeAssignment.Backup, of volume: VolumeID,
    _ body: @Sendable (any BackupSource) async throws(AgentFailure) -> Void
  ) async -> Result<Void, AgentFailure> {
    do throws(AgentFailure) {
      var above: Int?
      if let base = backup.base, let below = graph.layer(of: base, of: volume) {
        above = try count(from: layer, downTo: below)
      }
      let key = try key(of: layer, readBy: volume)
      // What a volume has grown by belongs to the layer in which it grew, and there is nothing in it.
      let holes = above == nil ? [] : try await holes(of: layer, key)
      let disk = try await open(layer, key, asking: above == nil ? .zeros : .depth)
      let result = await attempt { () async throws(AgentFailure) in
        let ranges = try await disk.extents().filter { Self.isRead($0.answer, above) }.map(\.range)
        try await body(
          DiskReading(
            disk: disk, reading: above == nil ? .full : .incremental, ranges: ranges, chunkBytes: backup.chunkBytes,
            holes: holes, seal: key.map { ChunkSeal($0, of: volume) }))
      }
      try await disk.close()
      return result
    } catch { return .failure(error) }
  }

  /// What reads as zeros, whichever layer says so.
  private func holes(of layer: LayerID, _ key: VolumeKey?) async throws(AgentFailure) -> [Range<Int>] {
    let disk = try await open(layer, key, asking: .zeros)
    let result = await attempt { () async throws(AgentFailure) in
      try await disk.extents().filter { !Self.isRead($0.answer, nil) }.map(\.range)
    }
    try await disk.close()
    return try result.get()
  }

  private func open(
    _ layer: LayerID, _ key: VolumeKey?, asking question: NBDDisk.Question
  ) async throws(AgentFailure) -> NBDDisk {
    guard let key else {
      return try await NBDDisk.open(path(of: layer), in: exportsFolder, isWritable: false, asking: question)
    }
    return try await NBDDisk.open(
      node: node(of: layer), key: key, in: exportsFolder, isWritable: false, asking: question)
  }

  /// Whether what qemu-nbd says of a range makes it one that is read: of `above` layers from above, or all that is no hole.
  private static func isRead(_ answer: Int, _ above: Int?) -> Bool {
    // Bit 1 of `base:allocation`: it reads as zeros.
    guard let above else { return answer & 2 == 0 }
    return (1...max(1, above)).contains(answer) && above > 0
  }

  /// How many layers there are from one down to another, by what the files say; nil when that is not below it.
  private func count(from top: LayerID, downTo bottom: LayerID) throws(AgentFailure) -> Int? {
    var (layer, count) = (top, 0)
    while layer != bottom {
      guard case .layer(let below)? = try header(of: layer).backing?.target, count < Self.maximumDepth else {
        return nil
      }
      layer = below
      count += 1
    }
    return count
  }

  private func attempt<Value: Sendable>(
    _ body: () async throws(AgentFailure) -> Value
  ) async -> Result<Value, AgentFailure> {
    do throws(AgentFailure) { return .success(try await body()) } catch { return .failure(error) }
  }

  func restore(
    _ volume: VolumeID, sizeBytes: Int, epoch: Int, needing bytes: Int,
    _ fill: @Sendable (any BackupTarget) async throws(AgentFailure) -> Void
  ) async throws(AgentFailure) {
    if let known = graph.manifests[volume], known.epoch >= epoch { return }
    try requireSpace(for: bytes)
    let key = try key(restoring: volume)
    let layer = LayerID(UInt64.randomName)
    let temporary = "\(layersFolder)/.\(layer.fileName)"
    defer { unlink(temporary) }
    try checkpoint("creating a restored layer")
    let encryption = key == nil ? [] : Self.encryptedLayer
    try await qemuImage("create", ["-f", "qcow2"] + encryption + [temporary, String(sizeBytes)], key: key)
    let disk = try await openRestored(temporary, key)
    let result = await attempt { () async throws(AgentFailure) in try await fill(disk) }
    try await disk.close(flushing: (try? result.get()) != nil)
    try result.get()
    try FileSystem.sync(file: temporary)
    try drop([layer])
    try checkpoint("naming a restored layer")
    try FileSystem.move(temporary, to: path(of: layer))
    try FileSystem.syncFolder(layersFolder)
    graph.set(layer, over: nil)
    graph.dropped.insert(layer)
    graph.hold(layer)
    defer { graph.release(layer) }
    // It may have been snapshotted, or deleted, meanwhile.
    var manifest = graph.manifests[volume] ?? VolumeManifest(volume: volume, epoch: epoch, leaf: layer)
    manifest.leaf = layer
    manifest.epoch = epoch
    try write(manifest)
  }

  /// What is restored is encrypted as the volume is; a new one, if there is a key for it.
  private func key(restoring volume: VolumeID) throws(AgentFailure) -> VolumeKey? {
    guard let known = graph.manifests[volume] else { return keys[volume] }
    return try key(of: known.leaf, readBy: volume)
  }

  private func openRestored(_ path: String, _ key: VolumeKey?) async throws(AgentFailure) -> NBDDisk {
    guard let key else { return try await NBDDisk.open(path, in: exportsFolder, isWritable: true) }
    return try await NBDDisk.open(node: Self.node(ofFile: path), key: key, in: exportsFolder, isWritable: true)
  }

  func keep(_ volume: VolumeID, asEpoch epoch: Int) async throws(AgentFailure) {
    var manifest = try manifest(of: volume)
    guard manifest.epoch < epoch else { return }
    manifest.epoch = epoch
    try write(manifest)
  }
}

extension UInt64 {
  /// 32 digits that nothing else has.
  static var randomName: String {
    (0..<2).map { _ in
      let digits = String(UInt64.random(in: .min ... .max), radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }
}
