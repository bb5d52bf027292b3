import CLinux
import Glibc

/// Makes listening sockets.
enum ListeningSocket {
  private static let backlog: Int32 = 4096
  /// What the kernel takes ahead of what the network does. Left to itself it takes megabytes per connection, and reports
  /// room again only when a third of them has drained, for which a slow reader needs longer than any sensible limit.
  private static let unsentBytes: Int32 = 128 << 10

  static func open(
    _ listener: ServerConfiguration.Listener, limits: Limits
  ) throws(ServerError) -> (Int32, BoundAddress) {
    switch listener {
    case .ip(let host, let port, _):
      let name = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
      guard let address = SocketAddress(host: host, port: port) else { throw .invalidAddress(name) }
      let socket = try bound(to: address, name: name)
      setTransferOptions(socket, limits)
      var actual = SocketAddress()
      _ = actual.withMutablePointer { getsockname(socket, $0, $1) }
      return (socket, .ip(host: host, port: actual.hostAndPort.port ?? port))
    case .unix(let path, let mode):
      guard let address = SocketAddress(unixPath: path) else { throw .invalidAddress(path) }
      removeStaleSocket(path, address)
      let socket = try bound(to: address, name: path)
      chmod(path, mode)
      return (socket, .unix(path: path))
    }
  }

  /// Accepted sockets inherit these (tcp(7)), which saves system calls per connection.
  private static func setTransferOptions(_ socket: Int32, _ limits: Limits) {
    let size = socklen_t(MemoryLayout<Int32>.size)
    var unsent = unsentBytes
    setsockopt(socket, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, &unsent, size)
    // For a peer that has vanished, also after the server has closed. The server's own limit comes first.
    var unacknowledged = Int32(clamping: limits.writeIdle.milliseconds + 15_000)
    setsockopt(socket, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, &unacknowledged, size)
  }

  static func close(_ socket: Int32, _ unixPath: String?) {
    Glibc.close(socket)
    if let unixPath { unlink(unixPath) }
  }

  private static func newSocket(_ family: Int32) -> Int32 {
    socket(family, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
  }

  private static func bound(to address: SocketAddress, name: String) throws(ServerError) -> Int32 {
    let socket = newSocket(address.family)
    guard socket >= 0 else { throw .system("socket", errno) }
    var one: Int32 = 1
    let size = socklen_t(MemoryLayout<Int32>.size)
    if address.family != AF_UNIX { setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &one, size) }
    if address.family == AF_INET6 { setsockopt(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, size) }
    guard address.withPointer({ bind(socket, $0, $1) }) == 0, listen(socket, backlog) == 0 else {
      let code = errno
      Glibc.close(socket)
      throw .bind(name, errno: code)
    }
    return socket
  }

  /// A socket file that nobody listens on any more is left over from a crash; one that answers belongs to somebody.
  private static func removeStaleSocket(_ path: String, _ address: SocketAddress) {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
    let probe = newSocket(AF_UNIX)
    guard probe >= 0 else { return }
    defer { Glibc.close(probe) }
    if address.withPointer({ connect(probe, $0, $1) }) != 0, errno == ECONNREFUSED { unlink(path) }
  }
}
