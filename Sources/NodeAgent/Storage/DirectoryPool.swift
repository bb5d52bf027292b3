import AloftModel
import Execution
import Glibc
import Logging

// A pool in a directory of the host
//
//   layers/<uuid>.qcow2        one layer of a volume's data over another one or over an image
//   layers/<uuid>.dropped      nobody names the layer any more: it may go, or be merged
//   volumes/<volume-id>.json   which layers are the volume and its snapshots
//   images/<sha256>            read-only, shared by the layers over them
//   exports/<image-id>.qcow2   what a snapshot holds, to be sent to the image store
//   memory/<snapshot-id>       what a guest's memory held at the instant of a snapshot; see DirectoryPool+Memory
//
// Names that begin with a dot, and those that end with `.new`, are half made; they are removed when the pool is opened. QEMU
// runs as another user: folders may be passed through, but not listed.
//
// Invariants
// - A layer is written to only while it is some volume's newest. Merging changes one too, but not what is read through it.
// - A manifest names only layers that are whole. What it lets go of is marked as dropped before.
// - What nobody names is deleted only if it is marked: a manifest that was lost does not take its data with it. While a
//   manifest or a layer cannot be read, no layer is deleted at all.
// - The layers of an encrypted volume are all locked with its key, which is in memory only; images below them are not. What is read
//   through them comes to no other file.
// - Only one process uses a directory at a time (``DataDirectory``); who calls takes care of guests that have files open.

/// A storage pool of qcow2 files.
actor DirectoryPool: VolumeBackend {
  let name: String
  let root: String
  /// Bytes of the file system that are never given to volumes and images.
  let reserve: Int
  let thread: DedicatedThread
  let logger: Logger
  /// Is called before each change of a file with what it is; for tests, which let the agent die there.
  let checkpoint: @Sendable (String) throws(AgentFailure) -> Void
  var graph = LayerGraph()
  /// Manifests and layers that cannot be read.
  var unreadable: Set<String> = []
  /// Since when nothing has needed an image, by the clock of ``removeImages(but:uptime:)``.
  var unusedImages: [String: Int] = [:]
  /// Of encrypted volumes, as far as they were told.
  var keys: [VolumeID: VolumeKey] = [:]
  /// Volumes that come from other pools and are not here yet, and what fills them now.
  var copies: [VolumeID: VolumeManifest] = [:]
  var copying: [VolumeID: ToolHandle] = [:]
  /// What is known of files that are to be sent.
  var exported: [ImageID: ExportedFile] = [:]

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// How many layers may lie above each other.
  static let maximumDepth = 64

  private init(
    name: String, root: String, reserve: Int, thread: DedicatedThread, logger: Logger,
    checkpoint: @escaping @Sendable (String) throws(AgentFailure) -> Void
  ) {
    self.name = name
    self.root = root
    self.reserve = reserve
    self.thread = thread
    self.logger = logger
    self.checkpoint = checkpoint
  }

  /// Opens the directory, makes its folders, and removes what an earlier process left half done.
  static func open(
    _ name: String, _ root: String, reserve: Int, thread: DedicatedThread = DedicatedThread(name: "pool"),
    logger: Logger,
    checkpoint: @escaping @Sendable (String) throws(AgentFailure) -> Void = { (_) throws(AgentFailure) in }
  ) async throws(AgentFailure) -> DirectoryPool {
    let pool = DirectoryPool(
      name: name, root: root, reserve: reserve, thread: thread, logger: logger, checkpoint: checkpoint)
    try await pool.load()
    return pool
  }

  var layersFolder: String { root + "/layers" }
  var volumesFolder: String { root + "/volumes" }
  func path(of layer: LayerID) -> String { layersFolder + "/" + layer.fileName }
  func marker(of layer: LayerID) -> String { "\(layersFolder)/\(layer).dropped" }
  func pullMarker(of layer: LayerID) -> String { "\(layersFolder)/\(layer).pulled" }
  func path(of volume: VolumeID) -> String { "\(volumesFolder)/\(volume).json" }
  func path(ofImage sha256: String) -> String { "\(root)/images/\(sha256)" }

  func path(of target: LayerGraph.Backing.Target) -> String {
    switch target {
    case .layer(let layer): path(of: layer)
    case .image(let sha256): path(ofImage: sha256)
    }
  }

  private func load() throws(AgentFailure) {
    for folder in [root, "\(root)/images", layersFolder, volumesFolder] {
      try FileSystem.makeFolder(folder, mode: 0o711)
    }
    for folder in [exportsFolder, memoryFolder] { try FileSystem.makeFolder(folder, mode: 0o700) }
    for folder in ["\(root)/images", layersFolder, volumesFolder, exportsFolder] {
      for name in FileSystem.names(in: folder) where name.hasPrefix(".") || name.hasSuffix(".new") {
        try FileSystem.delete("\(folder)/\(name)")
      }
    }
    for name in FileSystem.names(in: volumesFolder) {
      guard name.hasSuffix(".json"), let volume = VolumeID(String(name.dropLast(5))) else { continue }
      if let manifest = try readManifest(volume) { graph.set(manifest) } else { unreadable.insert(name) }
    }
    let names = FileSystem.names(in: layersFolder)
    for name in names where name.hasSuffix(".qcow2") {
      let layer = LayerID(String(name.dropLast(6)))
      do throws(AgentFailure) { graph.set(layer, over: try header(of: layer).backing) } catch {
        unreadable.insert(name)
        logger.error("a layer cannot be read", metadata: ["pool": "\(self.name)", "failure": "\(error)"])
      }
    }
    try loadPulls(names)
    try loadCopies()
    for name in names where name.hasSuffix(".dropped") {
      let layer = LayerID(String(name.dropLast(8)))
      if graph.isNamed(layer) || !names.contains(layer.fileName) {
        try FileSystem.delete(marker(of: layer))
      } else {
        graph.dropped.insert(layer)
      }
    }
    try tidyMemory()
    try collect()
  }

  /// Nil if it is not whole.
  func readManifest(_ volume: VolumeID) throws(AgentFailure) -> VolumeManifest? {
    guard let manifest = VolumeManifest(try FileSystem.readAll(path(of: volume))), manifest.volume == volume else {
      logger.error("a volume's manifest is damaged", metadata: ["pool": "\(name)", "volume": "\(volume)"])
      return nil
    }
    return manifest
  }

  /// What a layer's file says of itself.
  func header(of layer: LayerID) throws(AgentFailure) -> LayerHeader {
    let path = path(of: layer)
    return try FileSystem.withFile(path, O_RDONLY) { file throws(AgentFailure) in
      guard let header = QCOW2Header(try FileSystem.read(file, path, from: 0, count: QCOW2Header.length)),
        !header.hasDataFile
      else { throw AgentFailure(.volumeDamaged, "\(path) is not a layer of a volume") }
      let own = LayerHeader(sizeBytes: header.sizeBytes, isEncrypted: header.isEncrypted)
      guard let backing = header.backingFile else { return own }
      let name = String(
        decoding: try FileSystem.read(file, path, from: backing.offset, count: backing.length), as: UTF8.self)
      let format = header.backingFormat ?? "qcow2"
      // QEMU writes whole paths when it merges by itself.
      let file = name.hasPrefix(layersFolder + "/") ? String(name.dropFirst(layersFolder.utf8.count + 1)) : name
      for images in ["../images/", root + "/images/"] where file.hasPrefix(images) {
        return own.over(LayerGraph.Backing(target: .image(String(file.dropFirst(images.count))), format: format))
      }
      guard file.hasSuffix(".qcow2"), !file.contains("/") else {
        throw AgentFailure(.volumeDamaged, "\(path) lies over \(name), which is no file of this pool")
      }
      let below = LayerID(String(file.dropLast(6)))
      return own.over(LayerGraph.Backing(target: .layer(below), format: format))
    }
  }

  /// Deletes layers that nobody needs.
  func collect() throws(AgentFailure) {
    guard unreadable.isEmpty else {
      return logger.error(
        "something of this pool cannot be read: unused layers stay",
        metadata: ["pool": "\(name)", "unreadable": "\(unreadable.sorted())"])
    }
    while let layer = graph.removable.first {
      try checkpoint("deleting a layer")
      try FileSystem.delete(path(of: layer))
      graph.remove(layer)
      try FileSystem.delete(pullMarker(of: layer))
      try checkpoint("deleting a marker")
      try FileSystem.delete(marker(of: layer))
    }
  }

  /// Marks layers that are about to lose their last name.
  func drop(_ layers: some Sequence<LayerID>) throws(AgentFailure) {
    for layer in layers {
      try checkpoint("marking a layer")
      try FileSystem.withFile(marker(of: layer), O_WRONLY | O_CREAT) { _ in }
      graph.dropped.insert(layer)
    }
  }

  /// Replaces a volume's manifest, and deletes what it does not name any more if nobody needs it.
  func write(_ manifest: VolumeManifest) throws(AgentFailure) {
    let leaving = (graph.manifests[manifest.volume]?.names ?? []).subtracting(manifest.names)
    try drop(leaving)
    try checkpoint("writing a manifest")
    try FileSystem.replace(path(of: manifest.volume), with: try manifest.bytes())
    graph.set(manifest)
    for layer in manifest.names where graph.dropped.contains(layer) {
      graph.dropped.remove(layer)
      try checkpoint("unmarking a layer")
      try FileSystem.delete(marker(of: layer))
    }
    if !leaving.isEmpty { try collect() }
  }

  func manifest(of volume: VolumeID) throws(AgentFailure) -> VolumeManifest {
    guard let manifest = graph.manifests[volume] else {
      throw AgentFailure(.volumeDamaged, "pool \(name) has no volume \(volume)")
    }
    return manifest
  }

  /// Throws `diskFull` unless `bytes` fit above the reserve.
  func requireSpace(for bytes: Int) throws(AgentFailure) {
    let free = try FileSystem.space(root).free
    guard free - bytes < reserve else { return }
    let mib = { (bytes: Int) in bytes >> 20 }
    throw AgentFailure(
      .diskFull,
      "\(root) has \(mib(free)) MiB free, of which \(mib(reserve)) MiB are reserved; \(mib(bytes)) MiB are needed")
  }

  func status() -> NodeStoragePool {
    var pool = NodeStoragePool(name: name, kind: .directory, totalBytes: 0, freeBytes: 0, usedBytes: 0)
    do throws(AgentFailure) {
      let space = try FileSystem.space(root)
      pool.totalBytes = space.total
      pool.freeBytes = max(0, space.free - reserve)
      pool.usedBytes =
        FileSystem.blocks(under: layersFolder) + FileSystem.blocks(under: root + "/images")
        + FileSystem.blocks(under: exportsFolder) + FileSystem.blocks(under: memoryFolder)
    } catch { pool.problem = error.detail }
    return pool
  }
}
