import HTTPTypes

/// The answer to a request.
///
/// The server writes the framing itself: `Content-Length`, `Transfer-Encoding` and `Date` need not be given, the first
/// two are ignored if they are (but for HEAD and 304, where `Content-Length` says what GET would have sent).
/// `Connection: close` is honoured.
public struct Response: Sendable {
  public var status: HTTPResponse.Status
  public var headers: HTTPFields
  public var body: ResponseBody

  public init(status: HTTPResponse.Status = .ok, headers: HTTPFields = [:], body: ResponseBody = .none) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  /// A response with a body of the given media type.
  public init(status: HTTPResponse.Status = .ok, contentType: String, body: [UInt8]) {
    self.init(status: status, headers: [.contentType: contentType], body: .bytes(body))
  }
}

/// What follows the head of a response. For a HEAD request the server sends the same head and no body.
public enum ResponseBody: Sendable {
  case none
  case bytes([UInt8])
  /// Written while it is made. With a length it is sent as such, and writing more or less than that is an error that
  /// ends the connection; without, it is chunked. If the closure throws, the connection is cut, so that the client
  /// cannot mistake what it has for the whole.
  case stream(length: Int64?, @Sendable (BodyWriter) async throws -> Void)
  /// Takes the connection over as a WebSocket (RFC 6455) if the request asked for it; otherwise the client gets a 426.
  /// When the closure returns, the server closes with 1000.
  case webSocket(@Sendable (WebSocket) async throws -> Void)

  /// A chunked stream.
  public static func stream(_ produce: @escaping @Sendable (BodyWriter) async throws -> Void) -> ResponseBody {
    .stream(length: nil, produce)
  }
}
