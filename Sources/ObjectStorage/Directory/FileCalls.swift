import Glibc

/// File calls that throw ``ObjectStoreError``. They block.
enum FileCalls {
  static func failure(_ operation: String) -> ObjectStoreError {
    switch errno {
    case ENOSPC, EDQUOT: .storeFull
    case EACCES, EPERM, EROFS: .accessDenied("\(operation) failed with errno \(errno)")
    default: .file(operation: operation, errno: errno)
    }
  }

  static func write(_ bytes: [UInt8], to file: Int32, at offset: Int64) throws(ObjectStoreError) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { buffer in
        pwrite(file, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + off_t(done))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw failure("writing") }
      done += count
    }
  }

  static func read(_ file: Int32, at offset: Int64, count: Int) throws(ObjectStoreError) -> [UInt8] {
    var failed = false
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      var got = pread(file, buffer.baseAddress, count, off_t(offset))
      while got < 0 && errno == EINTR { got = pread(file, buffer.baseAddress, count, off_t(offset)) }
      failed = got < 0
      filled = max(0, got)
    }
    guard !failed else { throw failure("reading") }
    return bytes
  }

  /// Makes what a folder names durable.
  static func syncFolder(_ path: String, mayBeGone: Bool = false) throws(ObjectStoreError) {
    let folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else {
      if mayBeGone && errno == ENOENT { return }
      throw failure("opening a folder")
    }
    defer { close(folder) }
    guard fsync(folder) == 0 else { throw failure("syncing a folder") }
  }

  /// Makes a folder in one that is there; being there already is fine.
  static func makeFolder(_ path: String) throws(ObjectStoreError) {
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw failure("making a folder") }
  }

  /// The names in a folder but `.` and `..`; none where there is no folder.
  static func names(in path: String) throws(ObjectStoreError) -> [String] {
    guard let folder = opendir(path) else {
      if errno == ENOENT { return [] }
      throw failure("listing a folder")
    }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }
}
