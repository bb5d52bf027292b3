import FoundationEssentials
import Glibc

/// The few calls of the file system that the agent makes. They block: for threads that may.
enum FileSystem {
  /// The failure of the call that just returned -1.
  static func failure(_ what: String, _ path: String, errno code: Int32 = errno) -> AgentFailure {
    let reason = String(cString: strerror(code))
    if code == ENOSPC || code == EDQUOT {
      return AgentFailure(.diskFull, "\(what) \(path): \(reason); free space on its file system")
    }
    return AgentFailure(.storage, "\(what) \(path): \(reason)")
  }

  static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  static func makeFolder(_ path: String, mode: mode_t) throws(AgentFailure) {
    if mkdir(path, mode) != 0 && errno != EEXIST { throw failure("creating", path) }
  }

  /// Runs `body` with the open file, and closes it.
  static func withFile<Result>(
    _ path: String, _ flags: Int32, mode: mode_t = 0o600,
    _ body: (Int32) throws(AgentFailure) -> Result
  ) throws(AgentFailure) -> Result {
    let descriptor = open(path, flags | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw failure("opening", path) }
    defer { close(descriptor) }
    return try body(descriptor)
  }

  static func writeAll(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws(AgentFailure) {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        write(descriptor, $0.baseAddress?.advanced(by: written), $0.count - written)
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("writing", path)
      }
      written += count
    }
  }

  static func sync(_ descriptor: Int32, _ path: String) throws(AgentFailure) {
    if fsync(descriptor) != 0 { throw failure("syncing", path) }
  }

  /// Makes a rename or a new file in the folder durable.
  static func syncFolder(_ path: String) throws(AgentFailure) {
    try withFile(path, O_RDONLY | O_DIRECTORY) { descriptor throws(AgentFailure) in
      try sync(descriptor, path)
    }
  }

  static func move(_ from: String, to target: String) throws(AgentFailure) {
    if rename(from, target) != 0 { throw failure("renaming \(from) to", target) }
  }

  /// Writes a file so that under its name there is always the old content or the new one.
  static func replace(_ path: String, with bytes: [UInt8], mode: mode_t = 0o600)
    throws(AgentFailure)
  {
    let temporary = path + ".new"
    unlink(temporary)
    try withFile(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: mode) {
      descriptor throws(AgentFailure) in
      try writeAll(bytes, to: descriptor, temporary)
      try sync(descriptor, temporary)
    }
    try move(temporary, to: path)
    try syncFolder(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
  }

  static func readAll(_ path: String) throws(AgentFailure) -> [UInt8] {
    try withFile(path, O_RDONLY) { descriptor throws(AgentFailure) in
      var result: [UInt8] = []
      while true {
        let piece = try read(descriptor, path, from: result.count, count: 1 << 16)
        if piece.isEmpty { return result }
        result += piece
      }
    }
  }

  static func read(
    _ descriptor: Int32, _ path: String, from offset: Int, count: Int
  ) throws(AgentFailure) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    while true {
      let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, offset) }
      if got >= 0 { return Array(bytes.prefix(got)) }
      if errno != EINTR { throw failure("reading", path) }
    }
  }

  /// The names in a folder; none if it does not exist.
  static func names(in path: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }

  /// Deletes a file or a folder with all that is in it; what is not there is fine.
  static func delete(_ path: String) throws(AgentFailure) {
    do { try FileManager.default.removeItem(atPath: path) } catch {
      if exists(path) { throw AgentFailure(.storage, "deleting \(path): \(error)") }
    }
  }

  /// Makes what was written to a file durable.
  static func sync(file path: String) throws(AgentFailure) {
    try withFile(path, O_RDONLY) { file throws(AgentFailure) in try sync(file, path) }
  }

  static func size(of path: String) throws(AgentFailure) -> Int {
    var status = stat()
    guard stat(path, &status) == 0 else { throw failure("looking at", path) }
    return Int(status.st_size)
  }

  /// Bytes that a file takes on the disk; none if it is not there.
  static func blocks(of path: String) -> Int {
    var status = stat()
    return lstat(path, &status) == 0 ? Int(status.st_blocks) * 512 : 0
  }

  /// Bytes that the files in a folder and its folders take on the disk. What goes away meanwhile is not counted.
  static func blocks(under folder: String) -> Int {
    names(in: folder).reduce(0) { sum, name in
      let path = folder + "/" + name
      var status = stat()
      guard lstat(path, &status) == 0 else { return sum }
      let inside = status.st_mode & S_IFMT == S_IFDIR ? blocks(under: path) : 0
      return sum + Int(status.st_blocks) * 512 + inside
    }
  }

  static func space(_ path: String) throws(AgentFailure) -> StorageSpace {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { throw failure("looking at", path) }
    let block = Int(status.f_frsize)
    return StorageSpace(total: Int(status.f_blocks) * block, free: Int(status.f_bavail) * block)
  }
}
