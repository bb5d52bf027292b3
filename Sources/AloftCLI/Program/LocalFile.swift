import COpenSSL
import Execution
import Glibc

/// A file of the user's: read on a thread that may block, its faults told in words.
struct LocalFile: Sendable {
  let path: String

  /// The same file, wherever the program is run from the next time.
  var absolutePath: String {
    guard !path.hasPrefix("/"), let folder = getcwd(nil, 0) else { return path }
    defer { free(folder) }
    return String(cString: folder) + "/" + path
  }

  /// The whole content; `-` is standard input.
  func read(limit: Int, purpose: String) async throws(CommandFailure) -> [UInt8] {
    try await DedicatedThread(name: "file-read").run { () throws(CommandFailure) in
      let descriptor = path == "-" ? STDIN_FILENO : try opened(purpose)
      defer { if descriptor != STDIN_FILENO { close(descriptor) } }
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 64 << 10)
      while true {
        let count = Glibc.read(descriptor, &chunk, chunk.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw failure(purpose, errno) }
        if count == 0 { return bytes }
        bytes += chunk[..<count]
        guard bytes.count <= limit else {
          throw CommandFailure(.usage, "\(path): \(purpose) may have \(limit) bytes at most")
        }
      }
    }
  }

  /// Whether the file can be opened at all.
  func check(purpose: String) async throws(CommandFailure) {
    try await DedicatedThread(name: "file-check").run { () throws(CommandFailure) in
      _ = close(try opened(purpose))
    }
  }

  /// Size and SHA-256 of the content; `progress` is told the bytes hashed so far.
  func digest(
    progress: @escaping @Sendable (_ done: Int64, _ total: Int64) -> Void
  ) async throws(CommandFailure) -> (size: Int64, sha256: String) {
    let gone = CancellationFlag()
    let path = path
    do {
      return try await withTaskCancellationHandler {
        try await DedicatedThread(name: "file-digest").run { () throws(CommandFailure) in
          try LocalFile(path: path).digestBlocking(gone, progress)
        }
      } onCancel: {
        gone.set()
      }
    } catch let failure as CommandFailure {
      throw failure
    } catch {
      throw .interrupted
    }
  }

  private func digestBlocking(
    _ gone: CancellationFlag, _ progress: (_ done: Int64, _ total: Int64) -> Void
  ) throws(CommandFailure) -> (size: Int64, sha256: String) {
    let purpose = "the image"
    let descriptor = try opened(purpose)
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure(purpose, errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw CommandFailure(.usage, "\(path): an image is uploaded from a regular file")
    }
    guard let context = EVP_MD_CTX_new() else { throw CommandFailure(.usage, "out of memory") }
    defer { EVP_MD_CTX_free(context) }
    EVP_DigestInit_ex(context, EVP_sha256(), nil)
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    var size: Int64 = 0
    while true {
      guard !gone.isSet else { throw .interrupted }
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure(purpose, errno) }
      if count == 0 { break }
      EVP_DigestUpdate(context, chunk, count)
      size += Int64(count)
      progress(size, Int64(status.st_size))
    }
    var hash = [UInt8](repeating: 0, count: 32)
    guard EVP_DigestFinal_ex(context, &hash, nil) == 1 else {
      throw CommandFailure(.usage, "\(path): OpenSSL could not compute the SHA-256")
    }
    let sha256 = hash.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    return (size, sha256)
  }

  private func opened(_ purpose: String) throws(CommandFailure) -> Int32 {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(purpose, errno) }
    return descriptor
  }

  private func failure(_ purpose: String, _ code: Int32) -> CommandFailure {
    CommandFailure(.usage, "\(path): \(purpose) cannot be read: \(String(cString: strerror(code)))")
  }
}

/// Tells a blocking loop on another thread that nobody waits for it any more.
final class CancellationFlag: Sendable {
  private let flag = Lock(false)

  var isSet: Bool { flag.withLock { $0 } }

  func set() { flag.withLock { $0 = true } }
}
