import AloftModel
import Crypto
import Execution
import Foundation
import Glibc
import HTTP

/// The image store: a directory that all replicas share, with one file for each uploaded content.
///
/// Invariants:
/// - A file under its final name is complete and synced to disk; what is being written has the suffix `.part`.
/// - A content is never changed: another upload makes another file.
public struct ImageFiles: Sendable {
  private let directory: String
  /// File calls block: they run here and never on Swift's pool. Several, so that a slow disk under one transfer does not
  /// stop all others; those of one transfer run on one, in order.
  private let threads = (0..<4).map { DedicatedThread(name: "image-files\($0)") }

  /// Uses `directory`, which is made if it is not there.
  public init(directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    self.directory = directory
  }

  /// Uses a directory that must be there.
  public init(existing directory: String) throws {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory.boolValue else {
      throw StartFailure("\(directory) is no directory; name the image store that aloftd serve uses")
    }
    self.directory = directory
  }

  /// Removes uploads that were cut off and not written to since `date`.
  func removeAbandoned(before date: Date) async throws {
    let directory = directory
    try await thread(0).run {
      for name in try FileManager.default.contentsOfDirectory(atPath: directory) where name.hasSuffix(".part") {
        let path = directory + "/" + name
        // Another replica may have been quicker.
        guard let changed = try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date,
          changed < date
        else { continue }
        unlink(path)
      }
    }
  }

  /// Writes a body to a new file. Throws a ``Problem`` for what the client can mend; nothing stays behind then.
  func receive(_ body: RequestBody, as id: UUID, limit: UploadLimit, expecting sha256: String?) async throws
    -> ImageContent
  {
    let partial = path(id) + ".part"
    let thread = thread(id.hashValue)
    let file = try await thread.run { try PartialFile(path: partial) }
    do {
      for try await chunk in body {
        let total = try await thread.run { try file.append(chunk) }
        try limit.require(total)
      }
      let content = try await thread.run { try file.finish() }
      if let sha256, sha256 != content.sha256 {
        throw Problem(
          .checksumMismatch,
          "the content hashes to \(content.sha256), but the image was announced with \(sha256); nothing was kept, send it again"
        )
      }
      try await thread.run { try file.publish(as: path(id)) }
      return content
    } catch {
      await thread.run { file.discard() }
      throw Self.problem(of: error)
    }
  }

  /// Opens a content for reading. The caller closes the descriptor.
  func open(_ id: UUID) async throws -> (descriptor: Int32, size: Int) {
    let path = path(id)
    return try await thread(id.hashValue).run {
      let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else {
        throw Problem(.unavailable, "the image store does not hold this content now")
      }
      var status = stat()
      fstat(descriptor, &status)
      return (descriptor, Int(status.st_size))
    }
  }

  /// Reads up to `count` bytes; empty at the end.
  func read(_ descriptor: Int32, at offset: Int, count: Int) async throws -> [UInt8] {
    try await thread(Int(descriptor)).run {
      try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        let got = pread(descriptor, buffer.baseAddress, count, off_t(offset))
        guard got >= 0 else { throw FileFailure(call: "read", code: errno) }
        filled = got
      }
    }
  }

  func close(_ descriptor: Int32) async { await thread(Int(descriptor)).run { _ = Glibc.close(descriptor) } }

  func remove(_ id: UUID) async {
    let path = path(id)
    await thread(id.hashValue).run { _ = unlink(path) }
  }

  /// The contents in the store.
  func list() async throws -> [UUID] {
    let directory = directory
    return try await thread(0).run {
      try FileManager.default.contentsOfDirectory(atPath: directory).compactMap { UUID(uuidString: $0) }
    }
  }

  private func thread(_ number: Int) -> DedicatedThread { threads[abs(number % threads.count)] }

  private func path(_ id: UUID) -> String { directory + "/" + id.uuidString.lowercased() }

  private static func problem(of error: any Error) -> any Error {
    switch error {
    case BodyError.incomplete, BodyError.timedOut, BodyError.cancelled:
      Problem(.uploadIncomplete, "the upload broke off; nothing was kept, send it again")
    case BodyError.tooLarge(let limit): Problem(.bodyTooLarge, "the image is larger than \(limit) bytes")
    case BodyError.malformed(let detail): Problem(.badHTTP, detail)
    case let failure as FileFailure where failure.code == ENOSPC:
      Problem(.unavailable, "the image store is full; free some room or ask the operator")
    default: error
    }
  }
}

/// A file call that failed.
struct FileFailure: Error, CustomStringConvertible {
  var call: String
  var code: Int32
  var description: String { "\(call): \(String(cString: strerror(code)))" }
}

/// A content while it comes in.
///
/// `@unchecked Sendable`: it is only touched on one thread of the image store's, which runs one call after another.
private final class PartialFile: @unchecked Sendable {
  private let path: String
  private var descriptor: Int32
  private var hash = SHA256()
  private var size = 0
  private var head: [UInt8] = []

  init(path: String) throws {
    self.path = path
    descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o640)
    guard descriptor >= 0 else { throw FileFailure(call: "open", code: errno) }
  }

  /// Returns the size so far.
  func append(_ chunk: [UInt8]) throws -> Int {
    if head.count < ImageContent.headBytes { head += chunk.prefix(ImageContent.headBytes - head.count) }
    hash.update(data: chunk)
    var written = 0
    while written < chunk.count {
      let count = chunk.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written) }
      if count < 0 {
        if errno == EINTR { continue }
        throw FileFailure(call: "write", code: errno)
      }
      written += count
    }
    size += chunk.count
    return size
  }

  func finish() throws -> ImageContent {
    guard fsync(descriptor) == 0 else { throw FileFailure(call: "fsync", code: errno) }
    let found = try ImageContent.inspect(head: head, size: size)
    let digest = hash.finalize().map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0" + text : text
    }
    return ImageContent(
      format: found.format, sizeBytes: size, virtualSizeBytes: found.virtualSize, sha256: digest.joined())
  }

  func publish(as final: String) throws {
    Glibc.close(descriptor)
    descriptor = -1
    guard rename(path, final) == 0 else { throw FileFailure(call: "rename", code: errno) }
    // The name must survive a crash of the machine too.
    let directory = Glibc.open((final as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw FileFailure(call: "open", code: errno) }
    defer { Glibc.close(directory) }
    guard fsync(directory) == 0 else { throw FileFailure(call: "fsync", code: errno) }
  }

  func discard() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
    unlink(path)
  }
}
