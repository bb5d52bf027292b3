import Glibc

/// Lines of bytes over a connected socket. Its calls block.
public struct LineSocket: Sendable {
  public let descriptor: Int32
  private var received: [UInt8] = []

  /// The descriptor stays the caller's to close.
  public init(_ descriptor: Int32) { self.descriptor = descriptor }

  /// False: the other end is gone, and has not had the whole line.
  public func send(_ line: [UInt8]) -> Bool {
    let bytes = line + [UInt8(ascii: "\n")]
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return false }
      sent += count
    }
    return true
  }

  /// Nil: the other end is gone, or has said nothing for as long as the socket waits.
  public mutating func next() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        defer { received.removeSubrange(...end) }
        return Array(received[..<end])
      }
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return nil }
      received += buffer.prefix(count)
    }
  }
}
