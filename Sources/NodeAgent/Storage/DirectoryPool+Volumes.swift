import AloftModel
import Foundation

extension DirectoryPool {
  func create(
    _ volume: VolumeID, sizeBytes: Int, from source: VolumeAssignment.Source?
  ) async throws(AgentFailure) {
    guard graph.manifests[volume] == nil else { return }
    var backing: LayerGraph.Backing?
    if let image = source?.image {
      backing = LayerGraph.Backing(target: .image(image.sha256.lowercased()), format: image.format.rawValue)
    } else if let snapshot = source?.snapshot, let original = source?.volume {
      guard let layer = graph.layer(of: snapshot, of: original) else {
        throw AgentFailure(
          .volumeDamaged,
          "pool \(name) has no snapshot \(snapshot) of \(original), which \(volume) is to be cloned from")
      }
      backing = LayerGraph.Backing(target: .layer(layer), format: "qcow2")
    }
    var least = 0
    if let backing { least = try size(of: backing) }
    guard sizeBytes >= least else {
      throw AgentFailure(
        .hypervisorRefused, "\(volume) is to have \(sizeBytes) bytes, but what it is cloned from has \(least)")
    }
    let key = keys[volume]
    if case .layer(let below)? = backing?.target, try header(of: below).isEncrypted != (key != nil) {
      throw AgentFailure(
        .volumeLocked, "\(volume) and what it is cloned from must both be encrypted, with one key, or neither")
    }
    let leaf = try await makeLayer(over: backing, sizeBytes: sizeBytes, key: key)
    defer { graph.release(leaf) }
    try write(VolumeManifest(volume: volume, epoch: 0, leaf: leaf))
  }

  /// What a guest sees of a layer or an image.
  private func size(of backing: LayerGraph.Backing) throws(AgentFailure) -> Int {
    if case .layer(let layer) = backing.target { return try header(of: layer).sizeBytes }
    let path = path(of: backing.target)
    guard backing.format == "qcow2" else { return try FileSystem.size(of: path) }
    return try FileSystem.withFile(path, O_RDONLY) { file throws(AgentFailure) in
      guard let header = QCOW2Header(try FileSystem.read(file, path, from: 0, count: QCOW2Header.length)) else {
        throw AgentFailure(.imageCorrupt, "\(path) is not a qcow2 file")
      }
      return header.sizeBytes
    }
  }

  /// A new empty layer. The caller has to release it when it is named; it is marked as dropped until then.
  private func makeLayer(
    over backing: LayerGraph.Backing?, sizeBytes: Int, key: VolumeKey?
  ) async throws(AgentFailure) -> LayerID {
    try requireSpace(for: 0)
    var held: [LayerID] = []
    // What lies below must stay while this goes on.
    if case .layer(let below)? = backing?.target { held.append(below) }
    for layer in held { graph.hold(layer) }
    defer { for layer in held { graph.release(layer) } }
    let layer = LayerID(UUID().uuidString.lowercased())
    let temporary = "\(layersFolder)/.\(layer.fileName)"
    let over = backing.map { ["-F", $0.format, "-b", $0.name] } ?? []
    try checkpoint("creating a layer")
    // `-u`: what is below is not opened; a guest may be writing to it.
    try await qemuImage(
      "create",
      ["-u", "-f", "qcow2"] + (key == nil ? [] : Self.encryptedLayer) + over + [temporary, String(sizeBytes)], key: key)
    try FileSystem.sync(file: temporary)
    try drop([layer])
    try checkpoint("naming a layer")
    try FileSystem.move(temporary, to: path(of: layer))
    try FileSystem.syncFolder(layersFolder)
    graph.set(layer, over: backing)
    graph.dropped.insert(layer)
    graph.hold(layer)
    return layer
  }

  func grow(_ volume: VolumeID, to sizeBytes: Int) async throws(AgentFailure) {
    let leaf = try manifest(of: volume).leaf
    guard try header(of: leaf).sizeBytes < sizeBytes else { return }
    try checkpoint("growing a layer")
    let key = try key(of: leaf, readBy: volume)
    try await qemuImage("resize", opening(leaf, with: key) + [String(sizeBytes)], key: key)
    try FileSystem.sync(file: path(of: leaf))
  }

  func beginSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> DiskSource {
    var manifest = try manifest(of: volume)
    if !manifest.snapshots.contains(where: { $0.id == snapshot }) {
      let below = manifest.leaf
      guard graph.chain(from: below).count < Self.maximumDepth else {
        throw AgentFailure(
          .hypervisorRefused,
          "\(volume) consists of \(Self.maximumDepth) layers, which is the most; delete snapshots, and stop its guest for a while"
        )
      }
      let leaf = try await makeLayer(
        over: LayerGraph.Backing(target: .layer(below), format: "qcow2"), sizeBytes: try header(of: below).sizeBytes,
        key: try key(of: below, readBy: volume))
      defer { graph.release(leaf) }
      manifest.leaf = leaf
      manifest.snapshots.append(.init(id: snapshot, layer: below, takenAt: nil, quiesced: false))
      try write(manifest)
    }
    return .file(path(of: manifest.leaf))
  }

  /// Whether nothing was written to a layer since it was made.
  private func isEmpty(_ layer: LayerID) throws(AgentFailure) -> Bool {
    let path = path(of: layer)
    return try FileSystem.withFile(path, O_RDONLY) { file throws(AgentFailure) in
      guard let header = QCOW2Header(try FileSystem.read(file, path, from: 0, count: QCOW2Header.length)) else {
        throw AgentFailure(.volumeDamaged, "\(path) is not a layer of a volume")
      }
      let table = try FileSystem.read(file, path, from: header.clusterTable.offset, count: header.clusterTable.length)
      return table.count == header.clusterTable.length && table.allSatisfy { $0 == 0 }
    }
  }

  func emptyLeaf(of volume: VolumeID) async throws(AgentFailure) {
    var manifest = try manifest(of: volume)
    // One that is empty stays: somebody may be about to go over to it.
    if try isEmpty(manifest.leaf) { return }
    let leaf = try await makeLayer(
      over: graph.backing(of: manifest.leaf), sizeBytes: try header(of: manifest.leaf).sizeBytes,
      key: try key(of: manifest.leaf, readBy: volume))
    defer { graph.release(leaf) }
    manifest.leaf = leaf
    try write(manifest)
  }

  func finishSnapshot(
    _ snapshot: SnapshotID, of volume: VolumeID, takenAt: Int, quiesced: Bool
  ) async throws(AgentFailure) {
    var manifest = try manifest(of: volume)
    guard let index = manifest.snapshots.firstIndex(where: { $0.id == snapshot }) else {
      throw AgentFailure(.volumeDamaged, "\(volume) has no snapshot \(snapshot)")
    }
    guard manifest.snapshots[index].takenAt == nil else { return }
    manifest.snapshots[index].takenAt = takenAt
    manifest.snapshots[index].quiesced = quiesced
    try write(manifest)
  }

  func deleteSnapshot(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) {
    var manifest = try manifest(of: volume)
    try deleteMemory(of: manifest.snapshots.filter { $0.id == snapshot })
    manifest.snapshots.removeAll { $0.id == snapshot }
    try write(manifest)
  }

  func revert(
    _ volume: VolumeID, to snapshot: SnapshotID, epoch: Int, sizeBytes: Int
  ) async throws(AgentFailure) {
    var manifest = try manifest(of: volume)
    guard manifest.epoch < epoch else { return }
    guard let base = manifest.snapshots.first(where: { $0.id == snapshot && $0.takenAt != nil }) else {
      throw AgentFailure(.volumeDamaged, "\(volume) has no snapshot \(snapshot) to go back to")
    }
    let leaf = try await makeLayer(
      over: LayerGraph.Backing(target: .layer(base.layer), format: "qcow2"),
      sizeBytes: max(sizeBytes, try header(of: base.layer).sizeBytes), key: try key(of: base.layer, readBy: volume))
    defer { graph.release(leaf) }
    manifest.leaf = leaf
    manifest.epoch = epoch
    try write(manifest)
  }

  func delete(_ volume: VolumeID) async throws(AgentFailure) {
    let names = graph.manifests[volume]?.names ?? []
    try deleteMemory(of: graph.manifests[volume]?.snapshots ?? [])
    try drop(names)
    try checkpoint("deleting a manifest")
    try FileSystem.delete(path(of: volume))
    try FileSystem.syncFolder(volumesFolder)
    graph.remove(volume)
    keys[volume] = nil
    unreadable.remove("\(volume).json")
    // A layer may have a name from another volume only after damage; then it is not dropped.
    for layer in names where graph.isNamed(layer) { graph.dropped.remove(layer) }
    try collect()
  }
}
