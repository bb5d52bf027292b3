import AloftModel
import Crypto
import Execution
import Glibc

extension DirectoryPool {
  func hasImage(_ sha256: String) -> Bool { FileSystem.exists(path(ofImage: sha256.lowercased())) }

  func fetch(
    _ image: Assignment.BaseImage, from source: ImageSource,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    let target = path(ofImage: image.sha256.lowercased())
    if FileSystem.exists(target) { return }
    try makeRoom(for: image.sizeBytes)
    let temporary = "\(root)/images/.\(image.sha256)-\(UInt64.random(in: .min ... .max))"
    let descriptor = Glibc.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileSystem.failure("creating", temporary) }
    defer {
      close(descriptor)
      unlink(temporary)
    }
    try await download(image, source, descriptor, progress).get()
    try Self.check(descriptor, image, temporary)
    try FileSystem.sync(descriptor, temporary)
    try FileSystem.move(temporary, to: target)
    try FileSystem.syncFolder("\(root)/images")
    logger.info("image fetched", metadata: ["image": "\(image.id)", "bytes": "\(image.sizeBytes)"])
  }

  private func download(
    _ image: Assignment.BaseImage, _ source: ImageSource, _ descriptor: Int32,
    _ progress: @escaping @Sendable (Int) -> Void
  ) async -> Result<Void, AgentFailure> {
    let hash = Lock(SHA256())
    do throws(AgentFailure) {
      try await source(
        image, descriptor, { bytes in hash.withLock { $0.update(data: bytes) } }, progress)
    } catch { return .failure(error) }
    let digest = hash.withLock { $0.finalize() }.map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
    guard digest == image.sha256.lowercased() else {
      return .failure(
        AgentFailure(
          .imageCorrupt,
          "image \(image.id) arrived with SHA-256 \(digest), promised was \(image.sha256)"))
    }
    return .success(())
  }

  /// A qcow2 file can name other files of the host as its own content. Such an image is refused, whatever its digest.
  private static func check(
    _ descriptor: Int32, _ image: Assignment.BaseImage, _ path: String
  ) throws(AgentFailure) {
    let header = try FileSystem.read(descriptor, path, from: 0, count: QCOW2Header.length)
    guard image.format == .qcow2 else { return }
    guard let header = QCOW2Header(header) else {
      throw AgentFailure(.imageCorrupt, "image \(image.id) is not the qcow2 file it is said to be")
    }
    if header.backingFile != nil || header.hasDataFile {
      throw AgentFailure(
        .imageCorrupt,
        "image \(image.id) refers to another file; only images in one file can be used")
    }
  }

  /// Images that no layer lies over make room when it is short.
  private func makeRoom(for bytes: Int) throws(AgentFailure) {
    if (try? requireSpace(for: bytes)) != nil { return }
    // A layer that cannot be read may lie over any of them.
    guard unreadable.isEmpty else { return try requireSpace(for: bytes) }
    let used = graph.usedImages
    for name in FileSystem.names(in: "\(root)/images") where !name.hasPrefix(".") && !used.contains(name) {
      logger.info("removing an unused image", metadata: ["sha256": "\(name)"])
      try FileSystem.delete(path(ofImage: name))
      if (try? requireSpace(for: bytes)) != nil { return }
    }
    try requireSpace(for: bytes)
  }

  /// For how many milliseconds nothing may need an image before it is removed, and which part of the pool must be free for that.
  private static let imageGrace = 3_600_000
  private static let roomyPart = 10

  func removeImages(but wanted: Set<String>, uptime: Int) throws(AgentFailure) {
    // A layer that cannot be read may lie over any of them.
    guard unreadable.isEmpty else { return }
    let used = graph.usedImages.union(wanted)
    let unused = FileSystem.names(in: "\(root)/images").filter { !$0.hasPrefix(".") && !used.contains($0) }
    unusedImages = unusedImages.filter { unused.contains($0.key) }
    for name in unused {
      let since = unusedImages[name] ?? uptime
      unusedImages[name] = since
      let space = try FileSystem.space(root)
      let isShort = space.free - reserve < space.total / Self.roomyPart
      guard isShort || uptime - since >= Self.imageGrace else { continue }
      logger.info("removing an image that nothing needs", metadata: ["sha256": "\(name)"])
      try FileSystem.delete(path(ofImage: name))
      unusedImages[name] = nil
    }
  }
}
