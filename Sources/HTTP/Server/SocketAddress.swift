import CLinux
import Glibc

/// A socket address of one of the three families, with room for any of them.
struct SocketAddress {
  var storage = sockaddr_storage()
  var length = socklen_t(MemoryLayout<sockaddr_storage>.size)

  init() {}

  /// A numeric IPv4 or IPv6 address.
  init?(host: String, port: Int) {
    guard let port = UInt16(exactly: port) else { return nil }
    var v4 = sockaddr_in()
    var v6 = sockaddr_in6()
    if inet_pton(AF_INET, host, &v4.sin_addr) == 1 {
      v4.sin_family = sa_family_t(AF_INET)
      v4.sin_port = port.bigEndian
      store(v4)
    } else if inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 {
      v6.sin6_family = sa_family_t(AF_INET6)
      v6.sin6_port = port.bigEndian
      store(v6)
    } else {
      return nil
    }
  }

  init?(unixPath path: String) {
    var address = sockaddr_un()
    let bytes = Array(path.utf8)
    let fits = withUnsafeMutableBytes(of: &address.sun_path) { room in
      guard !bytes.isEmpty, bytes.count < room.count, !bytes.contains(0) else { return false }
      room.copyBytes(from: bytes)
      return true
    }
    guard fits else { return nil }
    address.sun_family = sa_family_t(AF_UNIX)
    store(address)
  }

  private mutating func store<Address>(_ address: Address) {
    withUnsafeBytes(of: address) { source in
      withUnsafeMutableBytes(of: &storage) { $0.copyMemory(from: source) }
    }
    length = socklen_t(MemoryLayout<Address>.size)
  }

  var family: Int32 { Int32(storage.ss_family) }

  func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    withUnsafePointer(to: storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
  }

  mutating func withMutablePointer<Result>(
    _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Result
  ) -> Result {
    withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &length) }
    }
  }

  /// The numeric address and port; `unix` and nil for a Unix-domain socket.
  var hostAndPort: (host: String, port: Int?) {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    switch family {
    case AF_INET:
      let address = load(as: sockaddr_in.self)
      var host = address.sin_addr
      inet_ntop(AF_INET, &host, &text, socklen_t(text.count))
      return (Self.string(text), Int(UInt16(bigEndian: address.sin_port)))
    case AF_INET6:
      let address = load(as: sockaddr_in6.self)
      var host = address.sin6_addr
      inet_ntop(AF_INET6, &host, &text, socklen_t(text.count))
      return (Self.string(text), Int(UInt16(bigEndian: address.sin6_port)))
    default:
      return ("unix", nil)
    }
  }

  /// What the connection limit per peer counts by: an IPv4 address, or the /64 that one IPv6 site owns. By a named listener, which
  /// has one network behind it, all neighbours may be of one /64: there it is the whole address.
  func peerKey(isWhole: Bool) -> PeerKey? {
    switch family {
    case AF_INET:
      return PeerKey(high: UInt64(load(as: sockaddr_in.self).sin_addr.s_addr), low: 0, isIPv6: false)
    case AF_INET6:
      return withUnsafeBytes(of: load(as: sockaddr_in6.self).sin6_addr) { bytes in
        let low = isWhole ? bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self) : 0
        return PeerKey(high: bytes.loadUnaligned(as: UInt64.self), low: low, isIPv6: true)
      }
    default: return nil
    }
  }

  private func load<Address>(as type: Address.Type) -> Address {
    withUnsafeBytes(of: storage) { $0.loadUnaligned(as: type) }
  }

  private static func string(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// What `strerror` says.
func systemMessage(_ code: Int32) -> String {
  var text = [CChar](repeating: 0, count: 128)
  _ = strerror_r(code, &text, text.count)
  let message = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  return message.isEmpty ? "error \(code)" : message
}
