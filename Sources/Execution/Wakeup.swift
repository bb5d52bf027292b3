import Glibc

/// Wakes a thread that waits in `poll(2)`.
///
/// A socket pair: one byte written is one wake-up; many are as good as one.
package final class Wakeup: Sendable {
  /// No socket pair could be made.
  package struct Failure: Error {
    package let errno: Int32
  }

  /// To be polled for reading.
  package let descriptor: Int32
  private let writer: Int32

  package init() throws(Failure) {
    var pair: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    guard socketpair(AF_UNIX, type, 0, &pair) == 0 else { throw Failure(errno: errno) }
    descriptor = pair[0]
    writer = pair[1]
  }

  deinit {
    close(descriptor)
    close(writer)
  }

  package func wake() {
    var byte: UInt8 = 1
    _ = send(writer, &byte, 1, Int32(MSG_NOSIGNAL))
  }

  package func drain() {
    var bytes: (UInt64, UInt64) = (0, 0)
    while recv(descriptor, &bytes, 16, 0) == 16 {}
  }

  /// Waits at most `duration`; returns early after ``wake()``.
  package func sleep(_ duration: Duration) {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    if poll(&entry, 1, duration.pollMilliseconds) > 0 { drain() }
  }
}

extension Duration {
  /// For `poll(2)`: rounded up, so that a wait is never cut to a busy loop; at most a day.
  package var pollMilliseconds: Int32 {
    let (seconds, attoseconds) = components
    if seconds >= 86_400 { return 86_400_000 }
    return seconds < 0 ? 0 : Int32(seconds * 1_000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }
}
