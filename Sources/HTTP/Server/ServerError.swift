/// Why a server could not start or take new certificates.
public enum ServerError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The host of a listener is not a numeric IPv4 or IPv6 address, or the port or path is out of range.
  case invalidAddress(String)
  /// A listener's address could not be bound.
  case bind(String, errno: Int32)
  /// A certificate, key or CA file was not accepted.
  case tls(file: String, reason: String)
  /// A system call without which nothing works failed.
  case system(String, Int32)
  /// `start` was called twice, or after `shutdown`.
  case alreadyStarted
  /// A socket was to be served before `start` or after `shutdown`.
  case notRunning

  public var description: String {
    switch self {
    case .invalidAddress(let address):
      "cannot listen on \(address): give a numeric IPv4 or IPv6 address and a port from 0 to 65535, or a socket path of at most 107 bytes"
    case .bind(let address, let code): "cannot listen on \(address): \(systemMessage(code))"
    case .tls(let file, let reason): "cannot use \(file) for TLS: \(reason)"
    case .system(let call, let code): "\(call) failed: \(systemMessage(code))"
    case .alreadyStarted: "the server was started before; make a new one"
    case .notRunning: "the server does not run"
    }
  }
}
