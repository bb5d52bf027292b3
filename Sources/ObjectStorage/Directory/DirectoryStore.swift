import Execution
import FoundationEssentials
import Glibc

/// Objects as files of one directory, which all replicas share.
///
/// An object is the file named by its key. Uploads are in `.uploads`, on the same file system, and become objects by
/// `rename(2)` once they are synced: a power cut leaves a whole object or none. Who has an upload open holds its lock
/// (`flock(2)`), so nobody else can write to it.
public struct DirectoryStore: ObjectStore {
  /// How much may be written before it is synced: what a crash of the machine can cost an upload.
  static let syncBytes: Int64 = 32 << 20
  static let uploads = ".uploads"

  let root: String
  let environment: StoreEnvironment
  /// For everything but transfers, which have threads of their own.
  let thread = DedicatedThread(name: "object-store")

  /// Uses a directory that must be there.
  public init(directory: String, environment: StoreEnvironment = .system) throws(ObjectStoreError) {
    var status = Glibc.stat()
    guard fstatat(AT_FDCWD, directory, &status, 0) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw .misconfigured("\(directory) is no directory")
    }
    try FileCalls.makeFolder("\(directory)/\(Self.uploads)")
    root = directory
    self.environment = environment
  }

  public func file(of key: ObjectKey) -> String? { path(key) }

  func path(_ key: ObjectKey) -> String { "\(root)/\(key.text)" }
  func uploadPath(_ id: String) -> String { "\(root)/\(Self.uploads)/\(id)" }

  public func beginUpload(_ key: ObjectKey, size: Int64?) async throws(ObjectStoreError) -> any ObjectUpload {
    let id = RunningHash.hexadecimal(
      [environment.random(), environment.random()].flatMap { word in
        (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
      })
    let state = UploadState(key: key, size: size, id: id, hash: RunningHash())
    return try await DirectoryUpload.open(state, in: self, isNew: true)
  }

  public func resumeUpload(_ state: UploadState) async throws(ObjectStoreError) -> any ObjectUpload {
    // It becomes a path.
    guard state.id.utf8.count == 32, state.id.allSatisfy(\.isHexDigit) else { throw .unknownUpload }
    return try await DirectoryUpload.open(state, in: self, isNew: false)
  }

  public func stat(_ key: ObjectKey) async throws(ObjectStoreError) -> ObjectInfo {
    let path = path(key)
    return try await thread.run { () throws(ObjectStoreError) in try Self.info(key, path) }
  }

  public func read(_ key: ObjectKey, range: Range<Int64>?) async throws(ObjectStoreError) -> ObjectContent {
    let path = path(key)
    let (info, file) = try await thread.run { () throws(ObjectStoreError) in
      let file = try ObjectFile(reading: path, key)
      return (try file.info(key), file)
    }
    let range = try info.resolve(range)
    return ObjectContent(info: info, range: range, source: FileContent(file, range))
  }

  public func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
    let path = path(key)
    let root = root
    try await thread.run { () throws(ObjectStoreError) in
      guard unlink(path) == 0 else {
        // EISDIR: the key is a folder of others, and so no object.
        if [ENOENT, ENOTDIR, EISDIR].contains(errno) { return }
        throw FileCalls.failure("removing")
      }
      // Folders that this has emptied; an upload that needs one makes it again.
      var folder = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
      while folder.utf8.count > root.utf8.count, rmdir(String(folder)) == 0 || errno == ENOENT {
        folder = folder[..<(folder.lastIndex(of: "/") ?? folder.startIndex)]
      }
      // Who removed it meanwhile has synced what is above.
      try FileCalls.syncFolder(String(folder), mayBeGone: true)
    }
  }

  static func info(_ key: ObjectKey, _ path: String) throws(ObjectStoreError) -> ObjectInfo {
    var status = Glibc.stat()
    guard fstatat(AT_FDCWD, path, &status, 0) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { throw .notFound(key) }
      throw FileCalls.failure("looking at an object")
    }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notFound(key) }
    return ObjectInfo(key: key, size: Int64(status.st_size), modified: status.modified)
  }
}

extension ObjectInfo {
  /// The bytes that a range stands for.
  func resolve(_ range: Range<Int64>?) throws(ObjectStoreError) -> Range<Int64> {
    guard let range else { return 0..<size }
    guard range.lowerBound >= 0, range.lowerBound < size || range.lowerBound == 0 else {
      throw .rangeNotSatisfiable(size: size)
    }
    return range.lowerBound..<max(range.lowerBound, min(range.upperBound, size))
  }
}

extension stat {
  var modified: Date { Date(timeIntervalSince1970: Double(st_mtim.tv_sec) + Double(st_mtim.tv_nsec) / 1e9) }
}

/// An object that is open for reading.
final class ObjectFile: Sendable {
  let descriptor: Int32

  init(reading path: String, _ key: ObjectKey) throws(ObjectStoreError) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT || errno == ENOTDIR { throw .notFound(key) }
      throw FileCalls.failure("opening an object")
    }
  }

  deinit { close(descriptor) }

  func info(_ key: ObjectKey) throws(ObjectStoreError) -> ObjectInfo {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileCalls.failure("looking at an object") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notFound(key) }
    return ObjectInfo(key: key, size: Int64(status.st_size), modified: status.modified)
  }
}

/// Reads a file from its own thread, piece by piece. What has an object open reads it to the end, deleted or not.
actor FileContent: ContentSource {
  private static let pieceBytes: Int64 = 256 << 10
  private let thread = DedicatedThread(name: "object-read")
  private let file: ObjectFile
  private var range: Range<Int64>

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  init(_ file: ObjectFile, _ range: Range<Int64>) {
    self.file = file
    self.range = range
  }

  func next() throws(ObjectStoreError) -> [UInt8]? {
    guard !Task.isCancelled else { throw .cancelled }
    guard !range.isEmpty else { return nil }
    let count = Int(min(Self.pieceBytes, range.upperBound - range.lowerBound))
    let bytes = try FileCalls.read(file.descriptor, at: range.lowerBound, count: count)
    guard !bytes.isEmpty else { throw .file(operation: "reading: the file was cut short", errno: EIO) }
    range = range.lowerBound + Int64(bytes.count)..<range.upperBound
    return bytes
  }
}
