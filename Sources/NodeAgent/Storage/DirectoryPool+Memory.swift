import AloftModel
import Glibc
import Libvirt

// What the memory of a guest held at the instant of a snapshot of all its volumes: a file beside the volume that the guest boots from.
//
//   memory/<snapshot-id>       belongs to a snapshot that the volume's manifest names, and says how long it is
//   memory/<snapshot-id>.part  is being written by libvirtd, whoever of us dies meanwhile; the snapshot was begun
//
// libvirtd writes and reads it, as root; a guest's QEMU gets it opened. It goes before the manifest forgets it, so that none is left.

extension DirectoryPool {
  var memoryFolder: String { root + "/memory" }
  private func path(ofMemory snapshot: SnapshotID) -> String { "\(memoryFolder)/\(snapshot)" }
  private func part(ofMemory snapshot: SnapshotID) -> String { path(ofMemory: snapshot) + ".part" }

  func beginMemory(_ snapshot: SnapshotID, of volume: VolumeID, bytes: Int) async throws(AgentFailure) -> String {
    let known = try manifest(of: volume).snapshots.first { $0.id == snapshot }
    guard known?.takenAt == nil, known?.memoryBytes == nil else {
      throw AgentFailure(.changedMeanwhile, "the memory of \(snapshot) is there already")
    }
    for path in [part(ofMemory: snapshot), path(ofMemory: snapshot)] { try FileSystem.delete(path) }
    try requireSpace(for: bytes)
    return part(ofMemory: snapshot)
  }

  func hasWrittenMemory(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> Bool {
    // It may have its name already.
    let path = [part(ofMemory: snapshot), path(ofMemory: snapshot)].first { FileSystem.exists($0) }
    guard let path else { return false }
    let mark = SavedMemory.completeMark
    return try FileSystem.withFile(path, O_RDONLY) { file throws(AgentFailure) in
      try FileSystem.read(file, path, from: 0, count: mark.count) == mark
    }
  }

  func finishMemory(_ snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) {
    var manifest = try manifest(of: volume)
    guard try begun(snapshot, of: volume).memoryBytes == nil,
      let index = manifest.snapshots.firstIndex(where: { $0.id == snapshot })
    else { return }
    let (part, path) = (part(ofMemory: snapshot), path(ofMemory: snapshot))
    guard try await hasWrittenMemory(snapshot, of: volume) else {
      throw AgentFailure(.memoryUnsaved, "\(part) is not whole")
    }
    if FileSystem.exists(part) {
      if chmod(part, 0o600) != 0 { throw FileSystem.failure("chmod", part) }
      try FileSystem.sync(file: part)
      try checkpoint("naming memory")
      try FileSystem.move(part, to: path)
      try FileSystem.syncFolder(memoryFolder)
    }
    manifest.snapshots[index].memoryBytes = try FileSystem.size(of: path)
    try write(manifest)
  }

  private func begun(_ snapshot: SnapshotID, of volume: VolumeID) throws(AgentFailure) -> VolumeManifest.Snapshot {
    guard let found = try manifest(of: volume).snapshots.first(where: { $0.id == snapshot && $0.takenAt == nil }) else {
      throw AgentFailure(.volumeDamaged, "\(volume) has no snapshot \(snapshot) that was begun")
    }
    return found
  }

  func memory(of snapshot: SnapshotID, of volume: VolumeID) async throws(AgentFailure) -> String {
    let path = path(ofMemory: snapshot)
    guard let known = try manifest(of: volume).snapshots.first(where: { $0.id == snapshot && $0.takenAt != nil }),
      let bytes = known.memoryBytes
    else { throw AgentFailure(.memoryUnusable, "\(volume) has no memory of \(snapshot)") }
    guard FileSystem.exists(path) else { throw AgentFailure(.memoryUnusable, "the file \(path) is missing") }
    let size = try FileSystem.size(of: path)
    guard size == bytes else {
      throw AgentFailure(.memoryUnusable, "the file \(path) has \(size) bytes, and had \(bytes)")
    }
    return path
  }

  /// Before the manifest that names them forgets these snapshots.
  func deleteMemory(of snapshots: [VolumeManifest.Snapshot]) throws(AgentFailure) {
    for snapshot in snapshots {
      for path in [part(ofMemory: snapshot.id), path(ofMemory: snapshot.id)] where FileSystem.exists(path) {
        try checkpoint("deleting memory")
        try FileSystem.delete(path)
      }
    }
  }

  /// Files that no manifest needs. While a manifest cannot be read, nothing is said.
  var unownedMemory: [String] {
    guard unreadable.isEmpty else { return [] }
    var named: Set<String> = []
    for snapshot in graph.manifests.values.flatMap(\.snapshots) {
      named.insert(snapshot.id.description)
      if snapshot.takenAt == nil { named.insert("\(snapshot.id).part") }
    }
    return FileSystem.names(in: memoryFolder).filter { !named.contains($0) }.sorted()
  }

  /// What was being written for a snapshot that is not begun any more.
  func tidyMemory() throws(AgentFailure) {
    for name in unownedMemory where name.hasSuffix(".part") { try FileSystem.delete("\(memoryFolder)/\(name)") }
  }
}
