import Glibc

/// Makes non-blocking client sockets.
enum Socket {
  /// Begins to connect. The socket is writable when that has ended; `outcome` says how.
  static func connect(to remote: Remote) throws(ConnectionEnd) -> Int32 {
    switch remote {
    case .unix(let path): try connectUnix(path)
    case .tcp(let address, let port), .tls(let address, let port): try connectTCP(address, port)
    }
  }

  /// Throws when the attempt has failed.
  static func outcome(_ descriptor: Int32) throws(ConnectionEnd) {
    var code: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 else { throw .system("getsockopt") }
    if code != 0 { throw .system("cannot connect", code) }
  }

  private static let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)

  private static func connectUnix(_ path: String) throws(ConnectionEnd) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw ConnectionEnd("the socket's path is longer than 107 bytes")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let descriptor = socket(AF_UNIX, type, 0)
    guard descriptor >= 0 else { throw .system("no socket") }
    return try begin(descriptor) {
      withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
    }
  }

  private static func connectTCP(_ address: String, _ port: UInt16) throws(ConnectionEnd) -> Int32 {
    var hints = addrinfo()
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(address, String(port), &hints, &list) == 0, let found = list else {
      throw ConnectionEnd("\"\(address)\" is no IP address")
    }
    defer { freeaddrinfo(found) }
    let descriptor = socket(found.pointee.ai_family, type, 0)
    guard descriptor >= 0 else { throw .system("no socket") }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    return try begin(descriptor) { Glibc.connect(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) }
  }

  private static func begin(_ descriptor: Int32, _ connect: () -> Int32) throws(ConnectionEnd) -> Int32 {
    if connect() == 0 || errno == EINPROGRESS || errno == EINTR { return descriptor }
    let code = errno
    close(descriptor)
    throw .system("cannot connect", code)
  }
}
