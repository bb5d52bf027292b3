import Execution
import Glibc

/// `aloft/config.yaml` in `XDG_CONFIG_HOME`, or in `~/.config`.
///
/// Invariants:
/// - It can be read by its owner alone, from its first byte on; one that others can read is not used.
/// - It is replaced as a whole: who reads it meanwhile sees the old or the new one.
struct ConfigFile: Sendable {
  static let mostBytes = 1 << 20
  let path: String

  /// Nil when the environment does not say where it would be.
  init?(_ environment: [String: String]) {
    if let folder = environment["XDG_CONFIG_HOME"], folder.hasPrefix("/") {
      path = folder + "/aloft/config.yaml"
    } else if let home = environment["HOME"], home.hasPrefix("/") {
      path = home + "/.config/aloft/config.yaml"
    } else {
      return nil
    }
  }

  /// The one that must be somewhere.
  static func require(_ environment: [String: String]) throws(CommandFailure) -> ConfigFile {
    guard let file = ConfigFile(environment) else {
      throw CommandFailure(.usage, "neither HOME nor XDG_CONFIG_HOME says where to remember clouds")
    }
    return file
  }

  /// Nothing where there is no file.
  func read() async throws(CommandFailure) -> KnownClouds {
    guard try await mode() != nil else { return KnownClouds() }
    let bytes = try await LocalFile(path: path).read(limit: Self.mostBytes, purpose: "the file of contexts")
    return try KnownClouds(yaml: String(decoding: bytes, as: UTF8.self), path: path)
  }

  /// Nil where there is no file.
  private func mode() async throws(CommandFailure) -> UInt32? {
    let path = path
    return try await DedicatedThread(name: "config-stat").run { () throws(CommandFailure) in
      var status = stat()
      guard stat(path, &status) == 0 else {
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw Self.failure(path, "cannot be read")
      }
      guard status.st_mode & 0o077 == 0 else {
        throw CommandFailure(
          .usage, "\(path) holds tokens, and others can read it", hint: "chmod 600 \(path); then make new tokens.")
      }
      return status.st_mode
    }
  }

  func write(_ clouds: KnownClouds) async throws(CommandFailure) {
    let (path, bytes) = (path, Array(try clouds.yaml().utf8))
    try await DedicatedThread(name: "config-write").run { () throws(CommandFailure) in
      try Self.makeFolders(Self.folder(of: path))
      // A link goes on leading to the file.
      let target = realpath(path, nil).map { pointer in
        defer { free(pointer) }
        return String(cString: pointer)
      }
      let final = target ?? path
      let temporary = final + ".new-\(getpid())"
      unlink(temporary)
      let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw Self.failure(temporary, "cannot be made") }
      var written = 0
      while written < bytes.count {
        let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        if count <= 0 { break }
        written += count
      }
      let isWhole = written == bytes.count && fsync(descriptor) == 0
      close(descriptor)
      guard isWhole, rename(temporary, final) == 0 else {
        let failure = Self.failure(final, "cannot be written")
        unlink(temporary)
        throw failure
      }
    }
  }

  /// The file whose lock lets one process at a time change this one.
  func openedLock() async throws(CommandFailure) -> Int32 {
    let path = path
    return try await DedicatedThread(name: "config-lock").run { () throws(CommandFailure) in
      try Self.makeFolders(Self.folder(of: path))
      let descriptor = open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw Self.failure(path + ".lock", "cannot be made") }
      return descriptor
    }
  }

  private static func folder(of path: String) -> String { String(path.prefix(path.count - "/config.yaml".count)) }

  private static func makeFolders(_ path: String) throws(CommandFailure) {
    var made = ""
    for part in path.split(separator: "/") {
      made += "/" + part
      if mkdir(made, 0o700) != 0, errno != EEXIST, access(made, F_OK) != 0 { throw failure(made, "cannot be made") }
    }
  }

  private static func failure(_ path: String, _ what: String) -> CommandFailure {
    CommandFailure(.usage, "\(path) \(what): \(String(cString: strerror(errno)))")
  }
}
