import Execution
import Glibc

/// Where a program's text goes.
public protocol ByteSink: Sendable {
  /// Whether a person looks at it.
  var isTerminal: Bool { get }
  /// How many characters a line of the terminal has.
  var columns: Int { get }
  /// Writes all of `bytes`.
  ///
  /// - Throws: ``CommandFailure`` with ``CommandStatus/outputClosed`` when nobody reads any more.
  func write(_ bytes: [UInt8]) async throws(CommandFailure)
}

/// Standard output or standard error. Writing may block (a pager that waits), so it has a thread of its own.
final class DescriptorSink: ByteSink {
  let isTerminal: Bool
  private let descriptor: Int32
  private let thread: DedicatedThread

  init(descriptor: Int32) {
    self.descriptor = descriptor
    isTerminal = isatty(descriptor) == 1
    thread = DedicatedThread(name: "write-fd\(descriptor)")
  }

  var columns: Int {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  func write(_ bytes: [UInt8]) async throws(CommandFailure) {
    let descriptor = descriptor
    try await thread.run { () throws(CommandFailure) in
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count >= 0 {
          rest = rest.dropFirst(count)
          continue
        }
        switch errno {
        case EINTR: continue
        case EAGAIN:
          // Somebody else made the terminal non-blocking.
          var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          poll(&ready, 1, -1)
        case EPIPE: throw .outputClosed
        default: throw CommandFailure(.usage, "the output cannot be written: \(String(cString: strerror(errno)))")
        }
      }
    }
  }
}
