import HTTPTypes

/// A request as the responder sees it: the head is complete, the body comes as it is read.
public struct Request: Sendable {
  /// Method, authority (from Host or an absolute target), target and fields. Host is `head.authority`, not a field.
  public var head: HTTPRequest
  /// The path of the target as it was sent: still percent-encoded, without the query. `*` for `OPTIONS *`.
  public var path: String
  /// What follows `?` in the target, still encoded; nil when there is no `?`.
  public var query: String?
  /// Who sent it.
  public var peer: Peer
  /// The body. Reading it is what makes the server take more of it from the client.
  public let body: RequestBody

  /// Makes a request by hand, for calling a responder without a server.
  public init(head: HTTPRequest, path: String, query: String? = nil, peer: Peer, body: RequestBody = RequestBody([])) {
    self.head = head
    self.path = path
    self.query = query
    self.peer = peer
    self.body = body
  }

  public var method: HTTPRequest.Method { head.method }
  public var headers: HTTPFields { head.headerFields }
}

/// The other end of a connection.
public struct Peer: Sendable, Hashable {
  /// A numeric address such as `127.0.0.1` or `2001:db8::1`; `unix` for a Unix-domain socket.
  public var address: String
  /// The TCP port; nil for a Unix-domain socket.
  public var port: Int?
  public var isTLS: Bool
  /// The client's certificate in DER, only if it was presented and verified against the client CA.
  public var certificate: [UInt8]?
  /// The name of the socket by which it came, if that was given one; see ``Server/listen(on:name:)``.
  public var listener: String?

  public init(
    address: String, port: Int? = nil, isTLS: Bool = false, certificate: [UInt8]? = nil, listener: String? = nil
  ) {
    self.listener = listener
    self.address = address
    self.port = port
    self.isTLS = isTLS
    self.certificate = certificate
  }
}

/// Answers requests. Its task prefers the connection's event loop as executor (SE-0417) and is cancelled when the client
/// leaves. It must not block, nor compute for long between two suspensions: its loop serves nobody else meanwhile. What
/// does belongs on a thread of its own.
public typealias Responder = @Sendable (Request) async -> Response

/// Answers a request on the event loop itself, at once and without blocking, or returns nil to leave it to the
/// ``Responder``. Only for tiny answers that are in memory already: while it runs, its loop serves nobody else.
public typealias ImmediateResponder = @Sendable (borrowing Request) -> Response?
