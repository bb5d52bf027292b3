import HTTPTypes

/// One request. Plain values; it can be sent more than once (unless its body is a stream that cannot).
public struct HTTPClientRequest: Sendable {
  /// The method. `GET`, `HEAD` and any other token.
  public var method: HTTPRequest.Method
  /// An absolute `http` or `https` URL, percent-encoded, without user and password.
  public var url: String
  /// Header fields. `Host`, `Content-Length` and `Transfer-Encoding` are set by the client.
  public var headers: HTTPFields
  /// What is sent after the head.
  public var body: HTTPClientBody
  /// Connect to this Unix domain socket (at most 107 bytes) instead of the URL's host, which still names `Host`.
  public var unixSocket: String?
  /// End the transfer with ``HTTPClientError/Kind/timeout`` when no byte moved for this long, from the start on. Time
  /// during which the reader of a streamed response holds it back does not count. Default: no limit.
  public var idleTimeout: Duration?
  /// How many redirects a `GET` or `HEAD` may follow; never from `https` to `http`. Other methods follow none.
  /// Default 0: the 3xx response is the result. Remember that fields other than `Authorization` and `Cookie` are sent
  /// to the new host too.
  public var maxRedirects: Int
  /// Whether sending it twice does no more than sending it once: only then is it sent again when a kept-alive connection
  /// ends without an answer. Nil: as the method says (RFC 9110, 9.2.2), or yes with an `Idempotency-Key`.
  public var isIdempotent: Bool?

  /// Makes a request.
  public init(
    method: HTTPRequest.Method = .get, url: String, headers: HTTPFields = [:],
    body: HTTPClientBody = .none,
    unixSocket: String? = nil, idleTimeout: Duration? = nil, maxRedirects: Int = 0, isIdempotent: Bool? = nil
  ) {
    self.method = method
    self.url = url
    self.headers = headers
    self.body = body
    self.unixSocket = unixSocket
    self.idleTimeout = idleTimeout
    self.maxRedirects = maxRedirects
    self.isIdempotent = isIdempotent
  }

  var mayBeSentAgain: Bool {
    if let isIdempotent { return isIdempotent }
    switch method {
    case .get, .head, .put, .delete, .options, .trace: return true
    default: return HTTPField.Name("Idempotency-Key").map { headers[$0] != nil } ?? false
    }
  }
}

/// What a request carries.
public enum HTTPClientBody: Sendable {
  /// Nothing. (`POST`, `PUT` and `PATCH` say `Content-Length: 0`.)
  case none
  /// Bytes in memory.
  case bytes([UInt8])
  /// `length` bytes of a file from `offset`; `nil`: to its end as it is when the request starts.
  case file(path: String, offset: Int64 = 0, length: Int64? = nil)
  /// Bytes made while they are sent; see ``stream(_:length:)``.
  case produced(length: Int64?, by: @Sendable (HTTPClientBodyWriter) async throws -> Void)

  /// The elements of an asynchronous sequence, asked for only as fast as the peer takes them. Without a `length` the
  /// body is sent chunked.
  public static func stream<S: AsyncSequence & Sendable>(_ sequence: S, length: Int64? = nil)
    -> HTTPClientBody
  where S.Element == [UInt8] {
    .produced(length: length) { writer in
      for try await chunk in sequence { try await writer.write(chunk) }
    }
  }
}

/// How far a transfer is.
public struct TransferProgress: Sendable, Equatable {
  /// Body bytes moved so far.
  public let bytes: Int64
  /// Body bytes in all, when known.
  public let total: Int64?
}
