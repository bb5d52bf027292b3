import Execution
import HTTPTypes
import Logging

// Invariants
//
// - All network I/O of a client happens on its one thread (`CurlLoop`); nothing here blocks a caller's thread.
// - Every transfer ends with exactly one outcome, and its reader is woken for it. Cancelling the waiting task ends the
//   wait at once and the transfer right after it.
// - Nothing is retried but what libcurl retries by itself: an idempotent request on a kept-alive connection that ended
//   without an answer.
// - Neither errors nor logs name more of a URL than its origin.

/// An HTTP/1.1 client over libcurl: TLS 1.2 or newer with an own CA and client certificates, keep-alive, streams with
/// back-pressure, Unix sockets. Make one and keep it: it owns the connections.
///
/// Responses of any status are responses; only what prevents a response is thrown.
public final class HTTPClient: Sendable {
  private let owner: LoopOwner

  /// The largest body ``send(_:deadline:maxBodyBytes:)`` takes unless told otherwise: 16 MiB.
  public static let defaultBodyLimit = 16 << 20
  /// How many unread bytes a streamed response may have before its connection is paused.
  static let streamBuffer = 1 << 20

  /// Makes a client; it connects when it has to. `logger` gets one line per request below `info`.
  public init(configuration: HTTPClientConfiguration = HTTPClientConfiguration(), logger: Logger) {
    owner = LoopOwner(configuration: configuration, logger: logger)
  }

  /// Ends what is under way with ``HTTPClientError/Kind/closed``, and so does everything asked for later. A client that is
  /// let go without it closes when its last transfer has ended.
  public func close() { owner.loop.stop() }

  /// Sends a request and waits for the whole response.
  ///
  /// - Parameters:
  ///   - deadline: how long all of it may take, waiting for a free connection included; `nil`: as long as it takes.
  ///   - maxBodyBytes: a larger body ends with ``HTTPClientError/Kind/tooLarge``.
  ///   - progress: called with the request body's bytes sent so far, on the client's own thread: be brief.
  public func send(
    _ request: HTTPClientRequest, deadline: Duration?,
    maxBodyBytes: Int = HTTPClient.defaultBodyLimit,
    progress: (@Sendable (TransferProgress) -> Void)? = nil
  ) async throws(HTTPClientError) -> HTTPClientResponse {
    let transfer = try await start(
      request, deadline: deadline, bufferLimit: maxBodyBytes, wake: .atEnd, progress: progress)
    return try await transfer.whole()
  }

  /// Sends a request and waits for the response or for the first bytes of its body: what comes behind them is not read, and
  /// ends the connection. For servers that are not trusted to know an end.
  ///
  /// - Parameter bodyPrefix: how many bytes of the body are wanted at most.
  public func send(
    _ request: HTTPClientRequest, deadline: Duration?, bodyPrefix: Int
  ) async throws(HTTPClientError) -> HTTPClientResponse {
    let transfer = try await start(
      request, deadline: deadline, bufferLimit: bodyPrefix, cutsBody: true, wake: .atEnd, progress: nil)
    return try await transfer.whole()
  }

  /// Sends `body` as the request's body; otherwise ``send(_:deadline:maxBodyBytes:progress:)``.
  public func upload(
    _ request: HTTPClientRequest, body: HTTPClientBody, deadline: Duration? = nil,
    progress: (@Sendable (TransferProgress) -> Void)? = nil
  ) async throws(HTTPClientError) -> HTTPClientResponse {
    var request = request
    request.body = body
    return try await send(request, deadline: deadline, progress: progress)
  }

  /// Sends a request and returns as soon as the response's head is there; the body is read at the caller's pace.
  ///
  /// `deadline` covers the body too: a response that may last forever wants `nil` and an idle timeout.
  public func stream(
    _ request: HTTPClientRequest, deadline: Duration? = nil
  ) async throws(HTTPClientError) -> HTTPClientStreamingResponse {
    let transfer = try await start(
      request, deadline: deadline, bufferLimit: Self.streamBuffer, wake: .eagerly, progress: nil)
    let lease = TransferLease(transfer)
    let head = try await transfer.head()
    return HTTPClientStreamingResponse(
      status: head.status, headers: head.headers, body: HTTPClientResponseBody(lease: lease))
  }

  private func start(
    _ request: HTTPClientRequest, deadline: Duration?, bufferLimit: Int, cutsBody: Bool = false, wake: Transfer.Wake,
    progress: (@Sendable (TransferProgress) -> Void)?
  ) async throws(HTTPClientError) -> Transfer {
    let origin = try request.validOrigin()
    let body = try await PreparedBody.prepare(request.body, origin: origin)
    let plan = Transfer.Plan(
      request: request, origin: origin, body: body, deadline: deadline, bufferLimit: bufferLimit,
      cutsBody: cutsBody, wake: wake, progress: progress)
    let transfer = Transfer(plan: plan, owner: owner)
    owner.loop.post(.start(transfer))
    return transfer
  }
}

extension HTTPClientRequest {
  func validOrigin() throws(HTTPClientError) -> Origin {
    let origin: Origin
    switch Origin.parse(url) {
    case .success(let parsed): origin = parsed
    case .failure(let refusal):
      throw HTTPClientError(kind: .invalidRequest, origin: "", detail: refusal.reason)
    }
    if let unixSocket, unixSocket.isEmpty || unixSocket.utf8.count > 107 {
      throw HTTPClientError(
        kind: .invalidRequest, origin: origin.description,
        detail: "a Unix socket's path has 1 to 107 bytes")
    }
    if case .file(_, let offset, let length) = body, offset < 0 || (length ?? 0) < 0 {
      throw HTTPClientError(
        kind: .invalidRequest, origin: origin.description,
        detail: "a file's offset and length are not negative")
    }
    return origin
  }
}
