import Glibc

/// A failed file call.
struct FileFailure: Error, CustomStringConvertible {
  let errno: Int32

  var description: String { errno == 0 ? "the file ended early" : String(cString: strerror(errno)) }
}

/// A file opened for reading; closed with its last reference. Its calls block.
final class OpenFile: Sendable {
  private let descriptor: Int32
  /// Size in bytes when it was opened.
  let size: Int64

  init(reading path: String) throws(FileFailure) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileFailure(errno: errno) }
    // lseek also measures block devices, for which fstat says 0.
    let size = lseek(descriptor, 0, SEEK_END)
    guard size >= 0 else {
      let code = errno
      Glibc.close(descriptor)
      throw FileFailure(errno: code)
    }
    self.descriptor = descriptor
    self.size = Int64(size)
  }

  deinit { Glibc.close(descriptor) }

  /// Up to `count` bytes from `position`; empty at the end of the file.
  func read(at position: Int64, count: Int) throws(FileFailure) -> [UInt8] {
    var failure: Int32 = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      var got = pread(descriptor, buffer.baseAddress, count, off_t(position))
      while got < 0 && errno == EINTR {
        got = pread(descriptor, buffer.baseAddress, count, off_t(position))
      }
      if got < 0 { failure = errno }
      initialized = max(0, got)
    }
    guard failure == 0 else { throw FileFailure(errno: failure) }
    return bytes
  }

  /// Writes all of `bytes` at `position` of a descriptor that stays the caller's.
  static func writeAll(_ bytes: [UInt8], to descriptor: Int32, at position: Int64)
    throws(FileFailure)
  {
    var done = 0
    while done < bytes.count {
      let written = bytes.withUnsafeBytes { buffer in
        pwrite(
          descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done,
          off_t(position) + off_t(done))
      }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw FileFailure(errno: written < 0 ? errno : EIO) }
      done += written
    }
  }
}
