import AloftModel
import Foundation
import Glibc

// A volume that comes from another pool
//
//   volumes/<volume-id>.copy   what its manifest will be; the layer that it names is being filled
//
// Renaming that to the manifest is the one step by which the volume counts here: it takes no room, and is there or not, whenever the host
// dies. Before, nobody reads the layer; it is held, so that nothing else here deletes it, and stays over a restart of the agent, since a
// guest's QEMU may be filling it.

extension DirectoryPool {
  private static let copySuffix = ".copy"
  private func path(ofCopy volume: VolumeID) -> String { "\(volumesFolder)/\(volume)\(Self.copySuffix)" }

  func copy(of volume: VolumeID) async throws(AgentFailure) -> DiskSource? {
    copies[volume].map { .file(path(of: $0.leaf)) }
  }

  func origin(of volume: VolumeID) async throws(AgentFailure) -> CopyOrigin {
    let manifest = try manifest(of: volume)
    let key = try key(of: manifest.leaf, readBy: volume)
    let chain = graph.chain(from: manifest.leaf)
    var used = chain.reduce(0) { $0 + FileSystem.blocks(of: path(of: $1)) }
    if let backing = chain.last.flatMap({ graph.backing(of: $0) }), case .image = backing.target {
      used += FileSystem.blocks(of: path(of: backing.target))
    }
    let size = try header(of: manifest.leaf).sizeBytes
    return CopyOrigin(
      arguments: opening(manifest.leaf, with: key), key: key, sizeBytes: size, usedBytes: min(used, size),
      epoch: manifest.epoch)
  }

  func prepareCopy(of volume: VolumeID, _ origin: CopyOrigin) async throws(AgentFailure) -> DiskSource {
    guard graph.manifests[volume] == nil, !FileSystem.exists(path(of: volume)) else {
      throw AgentFailure(.changedMeanwhile, "pool \(name) has \(volume) already")
    }
    try await discardCopy(of: volume)
    try requireSpace(for: origin.usedBytes)
    let manifest = VolumeManifest(
      volume: volume, epoch: origin.epoch, leaf: LayerID(UUID().uuidString.lowercased()))
    try checkpoint("beginning a copy")
    try FileSystem.replace(path(ofCopy: volume), with: try manifest.bytes())
    hold(manifest)
    let temporary = "\(layersFolder)/.\(manifest.leaf.fileName)"
    try await qemuImage(
      "create",
      ["-f", "qcow2"] + (origin.key == nil ? [] : Self.encryptedLayer) + [temporary, String(origin.sizeBytes)],
      key: origin.key)
    try checkpoint("naming a copy's layer")
    try FileSystem.move(temporary, to: path(of: manifest.leaf))
    try FileSystem.syncFolder(layersFolder)
    graph.set(manifest.leaf, over: nil)
    return .file(path(of: manifest.leaf))
  }

  func fillCopy(
    of volume: VolumeID, from origin: CopyOrigin, _ progress: @escaping @Sendable (Int, Int) -> Void
  ) async throws(AgentFailure) {
    guard let layer = copies[volume]?.leaf else {
      throw AgentFailure(.changedMeanwhile, "no copy of \(volume) was begun in pool \(name)")
    }
    var target = ["-O", "qcow2"] + origin.arguments + [path(of: layer)]
    if origin.key != nil {
      // Commas separate options; two are one in a name.
      let file = path(of: layer).replacing(",", with: ",,")
      target =
        ["--target-image-opts"] + origin.arguments + [
          "driver=qcow2,encrypt.format=luks,encrypt.key-secret=\(Tool.secretName),file.driver=file,file.filename=\(file)"
        ]
    }
    let handle = ToolHandle()
    copying[volume] = handle
    defer { copying[volume] = nil }
    let total = origin.usedBytes
    progress(0, total)
    try await Tool.copy(["-n", "--target-is-zero"] + target, secret: origin.key, handle: handle) { part in
      progress(Int(part * Double(total)), total)
    }
  }

  func stopCopy(of volume: VolumeID) async { copying[volume]?.stop() }

  func adoptCopy(of volume: VolumeID) async throws(AgentFailure) {
    guard let manifest = copies[volume] else {
      guard graph.manifests[volume] == nil else { return }
      throw AgentFailure(.changedMeanwhile, "pool \(name) has no copy of \(volume)")
    }
    try FileSystem.sync(file: path(of: manifest.leaf))
    try checkpoint("naming a copy")
    try FileSystem.move(path(ofCopy: volume), to: path(of: volume))
    copies[volume] = nil
    graph.set(manifest)
    graph.release(manifest.leaf)
    try FileSystem.syncFolder(volumesFolder)
  }

  func discardCopy(of volume: VolumeID) async throws(AgentFailure) {
    guard let manifest = copies[volume] else { return }
    if FileSystem.exists(path(of: manifest.leaf)) { try drop([manifest.leaf]) }
    try checkpoint("forgetting a copy")
    try FileSystem.delete(path(ofCopy: volume))
    try FileSystem.syncFolder(volumesFolder)
    copies[volume] = nil
    graph.release(manifest.leaf)
    try collect()
  }

  private func hold(_ manifest: VolumeManifest) {
    copies[manifest.volume] = manifest
    graph.hold(manifest.leaf)
  }

  /// What was being copied when an earlier process ended.
  func loadCopies() throws(AgentFailure) {
    for name in FileSystem.names(in: volumesFolder) where name.hasSuffix(Self.copySuffix) {
      guard let volume = VolumeID(String(name.dropLast(Self.copySuffix.utf8.count))) else { continue }
      guard let manifest = VolumeManifest(try FileSystem.readAll(path(ofCopy: volume))), manifest.volume == volume
      else {
        unreadable.insert(name)
        continue
      }
      hold(manifest)
    }
  }

  /// The volume whose copy a file is about.
  static func volume(ofCopy name: String) -> VolumeID? {
    name.hasSuffix(copySuffix) ? VolumeID(String(name.dropLast(copySuffix.utf8.count))) : nil
  }
}
