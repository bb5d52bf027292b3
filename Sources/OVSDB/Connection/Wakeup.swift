import Glibc

/// Wakes the thread that waits in `poll(2)`: a socket pair, where many written bytes are as good as one.
final class Wakeup: Sendable {
  /// To be polled for reading.
  let descriptor: Int32
  private let writer: Int32

  init() throws(OVSDBError) {
    var pair: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    guard socketpair(AF_UNIX, type, 0, &pair) == 0 else {
      throw OVSDBError(.invalidRequest, "no file descriptors are left (errno \(errno))")
    }
    descriptor = pair[0]
    writer = pair[1]
  }

  deinit {
    close(descriptor)
    close(writer)
  }

  func wake() {
    var byte: UInt8 = 1
    _ = send(writer, &byte, 1, Int32(MSG_NOSIGNAL))
  }

  func drain() {
    var bytes: (UInt64, UInt64) = (0, 0)
    while recv(descriptor, &bytes, 16, 0) == 16 {}
  }
}
