import HTTPTypes

/// Where and how a ``Server`` listens.
public struct ServerConfiguration: Sendable {
  public var listeners: [Listener]
  /// Event loops, each a thread of its own. One per core is plenty: they only move bytes.
  public var loops: Int
  public var limits: Limits
  /// Makes the body of answers that the server itself gives (400, 408, 413, 417, 426, 431, 500, 501, 505).
  public var errorBody: @Sendable (HTTPResponse.Status, _ detail: String) -> (contentType: String, bytes: [UInt8])

  public init(
    listeners: [Listener], loops: Int = 2, limits: Limits = Limits(),
    errorBody: @escaping @Sendable (HTTPResponse.Status, String) -> (contentType: String, bytes: [UInt8]) =
      ServerConfiguration.problem
  ) {
    self.listeners = listeners
    self.loops = loops
    self.limits = limits
    self.errorBody = errorBody
  }

  public enum Listener: Sendable {
    /// TCP. `host` is a numeric IPv4 or IPv6 address (`0.0.0.0` and `::` for all; `::` takes IPv6 only), port 0 lets
    /// the kernel choose.
    case ip(host: String, port: Int, tls: TLSConfiguration?)
    /// A Unix-domain socket with the given file mode. A stale socket file is replaced; one that answers is not.
    case unix(path: String, mode: UInt32 = 0o660)
  }

  /// The plain default for ``errorBody``: a problem document (RFC 9457).
  @Sendable
  public static func problem(
    status: HTTPResponse.Status, detail: String
  ) -> (contentType: String, bytes: [UInt8]) {
    var escaped = ""
    for character in detail.unicodeScalars {
      switch character {
      case "\"", "\\": escaped += "\\\(character)"
      case _ where character.value < 0x20: escaped += " "
      default: escaped.unicodeScalars.append(character)
      }
    }
    let text = #"{"status":\#(status.code),"title":"\#(status.title)","detail":"\#(escaped)"}"#
    return ("application/problem+json", Array(text.utf8))
  }
}

/// Where a listener ended up; tells the port that the kernel chose.
public enum BoundAddress: Sendable, Hashable {
  case ip(host: String, port: Int)
  case unix(path: String)

  /// The TCP port, if it is one.
  public var port: Int? { if case .ip(_, let port) = self { port } else { nil } }
}

/// Certificates or a key in PEM.
public enum PEMSource: Sendable, Hashable {
  /// A file, which is read at start and by ``Server/reloadCertificates()``.
  case file(String)
  /// The text itself: a key that lies in no file.
  case text(String)

  /// For errors.
  var place: String { if case .file(let path) = self { path } else { "PEM text" } }
}

/// TLS 1.2 and 1.3 with forward secrecy and AEAD ciphers only.
public struct TLSConfiguration: Sendable, Hashable {
  public enum ClientCertificate: Sendable, Hashable {
    /// Not asked for.
    case none
    /// Asked for; a client without one is let in, one with a bad one is not.
    case optional
    /// The handshake fails without one that `clientAuthorities` vouch for.
    case required
  }

  /// The server's certificate followed by its intermediates.
  public var certificateChain: PEMSource
  public var privateKey: PEMSource
  /// The authorities that client certificates must come from; needed unless `clientCertificate` is `.none`.
  public var clientAuthorities: PEMSource?
  public var clientCertificate: ClientCertificate

  public init(
    certificateChainFile: String, privateKeyFile: String, clientCAFile: String? = nil,
    clientCertificate: ClientCertificate = .none
  ) {
    self.init(
      certificateChain: .file(certificateChainFile), privateKey: .file(privateKeyFile),
      clientAuthorities: clientCAFile.map { .file($0) }, clientCertificate: clientCertificate)
  }

  public init(
    certificateChain: PEMSource, privateKey: PEMSource, clientAuthorities: PEMSource? = nil,
    clientCertificate: ClientCertificate = .none
  ) {
    self.certificateChain = certificateChain
    self.privateKey = privateKey
    self.clientAuthorities = clientAuthorities
    self.clientCertificate = clientCertificate
  }
}
