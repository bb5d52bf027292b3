import Glibc

/// Where an OVSDB server listens, in the notation of ovsdb's own tools.
public enum Remote: Sendable, Hashable, CustomStringConvertible {
  /// `unix:/path`
  case unix(String)
  /// `tcp:address:port`; an IPv6 address in brackets. Addresses only: a name's lookup could take any time.
  case tcp(address: String, port: UInt16)
  /// `ssl:address:port`
  case tls(address: String, port: UInt16)

  /// Reads the notation; throws `invalidRequest`.
  public init(_ text: String) throws(OVSDBError) {
    let parts = text.split(separator: ":", maxSplits: 1)
    guard parts.count == 2 else { throw Self.unusable(text) }
    if parts[0] == "unix" {
      guard parts[1].hasPrefix("/") else { throw Self.unusable(text) }
      self = .unix(String(parts[1]))
      return
    }
    guard let colon = parts[1].lastIndex(of: ":"), let port = UInt16(parts[1][parts[1].index(after: colon)...]),
      port > 0
    else { throw Self.unusable(text) }
    var address = parts[1][..<colon]
    if address.first == "[", address.last == "]" { address = address.dropFirst().dropLast() }
    switch parts[0] {
    case "tcp": self = .tcp(address: String(address), port: port)
    case "ssl": self = .tls(address: String(address), port: port)
    default: throw Self.unusable(text)
    }
  }

  private static func unusable(_ text: String) -> OVSDBError {
    OVSDBError(
      .invalidRequest, "\"\(text)\" is no OVSDB remote: unix:/path, tcp:address:port and ssl:address:port are")
  }

  public var description: String {
    switch self {
    case .unix(let path): "unix:\(path)"
    case .tcp(let address, let port): "tcp:\(Self.bracketed(address)):\(port)"
    case .tls(let address, let port): "ssl:\(Self.bracketed(address)):\(port)"
    }
  }

  private static func bracketed(_ address: String) -> String { address.contains(":") ? "[\(address)]" : address }
}

/// Why a connection ended, or never stood.
struct ConnectionEnd: Error, Sendable, CustomStringConvertible {
  let description: String
  /// The program wants it so.
  var isWanted = false

  init(_ description: String, isWanted: Bool = false) {
    self.description = description
    self.isWanted = isWanted
  }

  static func system(_ what: String, _ code: Int32 = errno) -> ConnectionEnd {
    ConnectionEnd("\(what): \(String(cString: strerror(code)))")
  }
}
