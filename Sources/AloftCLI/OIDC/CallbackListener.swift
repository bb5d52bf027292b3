import Execution
import Glibc

/// Where the browser comes back to: a port of 127.0.0.1 that was free (RFC 8252, section 7.3).
final class CallbackListener: Sendable {
  /// A browser sends its cookies for 127.0.0.1 too, whichever port they are of.
  private static let mostBytes = 64 << 10
  /// Browsers open connections on suspicion; the oldest gives way.
  private static let mostConnections = 16

  private struct Connection {
    let descriptor: Int32
    var head: [UInt8] = []
  }

  let port: UInt16
  private let descriptor: Int32

  init() throws(CommandFailure) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw Self.failure() }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isOpen = withUnsafeMutableBytes(of: &address) { bytes in
      bytes.withMemoryRebound(to: sockaddr.self) { pointer in
        bind(descriptor, pointer.baseAddress, length) == 0 && listen(descriptor, 16) == 0
          && getsockname(descriptor, pointer.baseAddress, &length) == 0
      }
    }
    guard isOpen else {
      let failure = Self.failure()
      close(descriptor)
      throw failure
    }
    (self.descriptor, port) = (descriptor, UInt16(bigEndian: address.sin_port))
  }

  deinit { close(descriptor) }

  private static func failure() -> CommandFailure {
    CommandFailure(.usage, "no port of 127.0.0.1 can be listened on: \(String(cString: strerror(errno)))")
  }

  /// The code that the browser brings. Throws what the issuer refused with, and when `span` has passed by `uptime`.
  func code(
    by rule: CallbackRule, within span: Duration, uptime: @escaping @Sendable () -> Duration
  ) async throws(CommandFailure) -> String {
    let gone = CancellationFlag()
    let outcome: Result<String, CommandFailure> = await withTaskCancellationHandler {
      await DedicatedThread(name: "oidc-callback").run {
        Result { () throws(CommandFailure) in try self.wait(rule, until: uptime() + span, uptime, gone) }
      }
    } onCancel: {
      gone.set()
    }
    return try outcome.get()
  }

  private func wait(
    _ rule: CallbackRule, until end: Duration, _ uptime: () -> Duration, _ gone: CancellationFlag
  ) throws(CommandFailure) -> String {
    var connections: [Connection] = []
    defer { for connection in connections { close(connection.descriptor) } }
    while !gone.isSet {
      guard uptime() < end else {
        throw CommandFailure(.notAuthenticated, "nobody has logged in in time", hint: "Begin anew: aloft login --oidc.")
      }
      var ready = ([descriptor] + connections.map(\.descriptor)).map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      guard poll(&ready, nfds_t(ready.count), 100) > 0 else { continue }
      for index in connections.indices.reversed() where ready[index + 1].revents != 0 {
        guard let head = Self.read(&connections[index]) else { continue }
        let connection = connections.remove(at: index)
        defer { close(connection.descriptor) }
        switch rule.verdict(head) {
        case .turnedAway(let page): Self.send(page, to: connection)
        case .refused(let failure):
          Self.send(.refused, to: connection)
          throw failure
        case .code(let code):
          Self.send(.done, to: connection)
          return code
        }
      }
      if ready[0].revents != 0 { accept(&connections) }
    }
    throw .interrupted
  }

  private func accept(_ connections: inout [Connection]) {
    let accepted = Glibc.accept(descriptor, nil, nil)
    guard accepted >= 0 else { return }
    _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
    _ = fcntl(accepted, F_SETFL, O_NONBLOCK)
    if connections.count >= Self.mostConnections { close(connections.removeFirst().descriptor) }
    connections.append(Connection(descriptor: accepted))
  }

  /// The head once it is whole, or what there is of it when no more will come; nil: more will come.
  private static func read(_ connection: inout Connection) -> String? {
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    let count = recv(connection.descriptor, &chunk, chunk.count, 0)
    if count < 0, errno == EAGAIN || errno == EINTR { return nil }
    if count > 0 { connection.head += chunk[..<count] }
    let text = String(decoding: connection.head, as: UTF8.self)
    guard count <= 0 || connection.head.count > mostBytes || text.contains("\r\n\r\n") else { return nil }
    return text.contains("\r\n\r\n") ? text : ""
  }

  /// A page fits into a new connection's buffer, so this does not wait.
  private static func send(_ page: CallbackPage, to connection: Connection) {
    let bytes = page.response
    _ = Glibc.send(connection.descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    shutdown(connection.descriptor, Int32(SHUT_WR))
  }
}
