import AloftModel
import Crypto
import Execution
import Glibc

extension DirectoryStorage {
  public func fetch(
    _ image: Assignment.BaseImage, from source: ImageSource,
    progress: @escaping @Sendable (Int) -> Void
  ) async throws(AgentFailure) {
    let target = imagePath(image.sha256)
    let temporary = "\(root)/images/.\(image.sha256)-\(UInt64.random(in: .min ... .max))"
    let descriptor = try await thread.run { () throws(AgentFailure) -> Int32? in
      if FileSystem.exists(target) { return nil }
      try makeRoom(for: image.sizeBytes)
      let descriptor = Glibc.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { throw FileSystem.failure("creating", temporary) }
      return descriptor
    }
    guard let descriptor else { return }
    let result = await download(image, source, descriptor, progress)
    try await thread.run { () throws(AgentFailure) in
      defer {
        close(descriptor)
        unlink(temporary)
      }
      try result.get()
      try Self.check(descriptor, image, temporary)
      try FileSystem.sync(descriptor, temporary)
      try FileSystem.move(temporary, to: target)
      try FileSystem.syncFolder("\(root)/images")
    }
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

  /// Images that no disk is cloned from make room when it is short.
  private func makeRoom(for bytes: Int) throws(AgentFailure) {
    if (try? requireSpace(for: bytes)) != nil { return }
    var used: Set<String> = []
    for name in FileSystem.names(in: "\(root)/vms") {
      guard let vm = VMID(name) else { continue }
      let path = paths(of: vm).disk
      guard FileSystem.exists(path) else { continue }
      // A disk that cannot be read may be a clone of any of them.
      guard let base = try? baseImage(of: path) else { return try requireSpace(for: bytes) }
      used.insert(base)
    }
    for name in FileSystem.names(in: "\(root)/images")
    where !name.hasPrefix(".") && !used.contains(imagePath(name)) {
      logger.info("removing an unused image", metadata: ["sha256": "\(name)"])
      try FileSystem.delete(imagePath(name))
      if (try? requireSpace(for: bytes)) != nil { return }
    }
    try requireSpace(for: bytes)
  }

  private func baseImage(of disk: String) throws(AgentFailure) -> String {
    try FileSystem.withFile(disk, O_RDONLY) { file throws(AgentFailure) in
      guard
        let header = QCOW2Header(
          try FileSystem.read(file, disk, from: 0, count: QCOW2Header.length)),
        let backing = header.backingFile
      else { throw AgentFailure(.storage, "\(disk) is not a clone") }
      return String(
        decoding: try FileSystem.read(file, disk, from: backing.offset, count: backing.length),
        as: UTF8.self)
    }
  }
}

/// What matters of a qcow2 file's header (QEMU, docs/interop/qcow2.txt).
struct QCOW2Header {
  static let length = 104

  /// Where in the file the backing file's name is.
  var backingFile: (offset: Int, length: Int)?
  /// The guest's data is in yet another file.
  var hasDataFile: Bool

  /// Nil unless it is one of version 2 or 3.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= 72, Array(bytes.prefix(4)) == [0x51, 0x46, 0x49, 0xfb] else { return nil }
    func number(at offset: Int, bytes width: Int) -> Int {
      bytes[offset..<offset + width].reduce(0) { $0 << 8 | Int($1) }
    }
    let version = number(at: 4, bytes: 4)
    guard version == 2 || (version == 3 && bytes.count >= 80) else { return nil }
    // The sign bit cannot be set in a file that exists.
    guard bytes[8] < 0x80 else { return nil }
    let offset = number(at: 8, bytes: 8)
    backingFile = offset == 0 ? nil : (offset, number(at: 16, bytes: 4))
    hasDataFile = version == 3 && bytes[79] & 4 != 0
  }
}
