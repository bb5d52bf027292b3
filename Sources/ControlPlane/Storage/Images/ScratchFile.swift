import DiskImages
import Execution
import Glibc

/// A file without a name, which goes with the last reference.
///
/// `@unchecked Sendable`: what changes is only touched on its thread.
final class ScratchFile: @unchecked Sendable {
  struct Failure: Error {
    var code: Int32
  }

  let descriptor: Int32
  private let thread: DedicatedThread
  private var size = 0

  private init(_ descriptor: Int32, _ thread: DedicatedThread) {
    self.descriptor = descriptor
    self.thread = thread
  }

  deinit { close(descriptor) }

  static func make(in directory: String) async throws(InspectionFailure) -> ScratchFile {
    let thread = DedicatedThread(name: "image-scratch")
    // O_TMPFILE of Linux, which Swift does not import: it is `__O_TMPFILE | O_DIRECTORY`.
    let unnamed = 0o20_000_000 | O_DIRECTORY
    return try await thread.run { () throws(InspectionFailure) in
      let descriptor = open(directory, unnamed | O_RDWR | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw .cannotOpen(errno: errno) }
      return ScratchFile(descriptor, thread)
    }
  }

  func append(_ bytes: [UInt8]) async throws(Failure) {
    try await thread.run { () throws(Failure) in
      var done = 0
      while done < bytes.count {
        let count = bytes.withUnsafeBytes { buffer in
          pwrite(self.descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(self.size + done))
        }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw Failure(code: errno) }
        done += count
      }
      self.size += bytes.count
    }
  }
}
