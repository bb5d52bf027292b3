import Execution
import Foundation
import Glibc
import OVSDBTestSupport

@testable import OVSDB

/// A server that accepts one connection, writes given bytes in small pieces, and then only reads: for what a real server
/// never does.
final class PlayedServer: Sendable {
  let directory: String
  /// What came from the client.
  let received = Lock<[UInt8]>([])
  private let thread = DedicatedThread(name: "played")

  var remote: Remote { .unix(directory + "/db.sock") }

  init(saying bytes: [UInt8], pieces: Int = 1 << 16) throws {
    directory = try OVSDBServer.makeDirectory()
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: (directory + "/db.sock").utf8) }
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard code == 0, listen(listener, 4) == 0 else { throw OVSDBServer.Failure(what: "listen") }
    let (received, thread) = (received, thread)
    Task { await thread.run { Self.play(listener, bytes, pieces, received) } }
  }

  deinit { try? FileManager.default.removeItem(atPath: directory) }

  private static func play(_ listener: Int32, _ bytes: [UInt8], _ pieces: Int, _ received: Lock<[UInt8]>) {
    let connection = accept(listener, nil, nil)
    close(listener)
    defer { close(connection) }
    var written = 0
    while written < bytes.count {
      let end = min(written + pieces, bytes.count)
      let count = send(connection, Array(bytes[written..<end]), end - written, Int32(MSG_NOSIGNAL))
      if count <= 0 { return }
      written += count
    }
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let count = read(connection, &buffer, buffer.count)
      if count <= 0 { return }
      received.withLock { $0 += buffer[..<count] }
    }
  }
}
