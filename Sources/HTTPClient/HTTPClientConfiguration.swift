/// What all requests of one ``HTTPClient`` share. Values are read once; a file is read again for each new connection, so
/// a renewed certificate in the same file is taken up without a restart (a CA file within a minute).
public struct HTTPClientConfiguration: Sendable {
  /// Whose signature makes a server's certificate trusted.
  public enum TrustRoots: Sendable, Equatable {
    /// The operating system's authorities.
    case system
    /// Only the authorities in this PEM file.
    case file(String)
    /// Only the authorities in this PEM text.
    case pem(String)
  }

  /// A PEM certificate (chain) and its unencrypted PEM key, shown to servers that ask.
  public struct ClientCertificate: Sendable, Equatable {
    /// Path of the certificate, leaf first.
    public var certificateFile: String
    /// Path of the private key.
    public var keyFile: String

    /// Names the two files; they are first read when a connection is made.
    public init(certificateFile: String, keyFile: String) {
      self.certificateFile = certificateFile
      self.keyFile = keyFile
    }
  }

  /// Trusted authorities. Default: the system's.
  public var trustRoots: TrustRoots
  /// The client certificate for mutual TLS. Default: none.
  public var clientCertificate: ClientCertificate?
  /// How long name resolution, TCP and TLS may take together. Default: 10 s.
  public var connectTimeout: Duration
  /// How many connections one host may have at a time; further requests wait for one. Default: 32.
  public var maxConnectionsPerHost: Int
  /// The `User-Agent` of requests that do not bring their own.
  public var userAgent: String
  /// Proxy URL. Default: none, and the environment's `http_proxy` is not looked at.
  public var proxy: String?
  /// Where connections may go; for URLs that come from somebody who is not trusted. Each address is judged when it is about to
  /// be connected to, for redirects and a proxy too; Unix sockets are refused. Default: anywhere.
  public var outgoing: OutgoingRule?

  /// Makes a configuration; see the properties for the defaults.
  public init(
    trustRoots: TrustRoots = .system, clientCertificate: ClientCertificate? = nil,
    connectTimeout: Duration = .seconds(10), maxConnectionsPerHost: Int = 32,
    userAgent: String = "aloft",
    proxy: String? = nil, outgoing: OutgoingRule? = nil
  ) {
    self.trustRoots = trustRoots
    self.clientCertificate = clientCertificate
    self.connectTimeout = connectTimeout
    self.maxConnectionsPerHost = maxConnectionsPerHost
    self.userAgent = userAgent
    self.proxy = proxy
    self.outgoing = outgoing
  }
}
