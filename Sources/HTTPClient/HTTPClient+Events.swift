import HTTPTypes

extension HTTPClient {
  /// Opens a stream of server-sent events. It does not reconnect: the caller knows whether it still wants the stream,
  /// and sends the last ``ServerSentEvent/id`` as `Last-Event-ID` when it does.
  ///
  /// - Throws: ``HTTPClientError/Kind/unexpectedStatus(_:)`` with the response's body when the status is not 200, and
  ///   ``HTTPClientError/Kind/protocolError`` when the response is not `text/event-stream`.
  public func events(_ request: HTTPClientRequest) async throws(HTTPClientError) -> ServerSentEvents {
    let origin = try request.validOrigin().description
    var request = request
    if request.headers[.accept] == nil { request.headers[.accept] = "text/event-stream" }
    if request.headers[.cacheControl] == nil { request.headers[.cacheControl] = "no-cache" }
    let response = try await stream(request)
    guard response.status == 200 else {
      let body = try await response.body.prefix(bytes: Self.errorBodyLimit)
      throw HTTPClientError(
        kind: .unexpectedStatus(response.status), origin: origin, detail: "", responseBody: body)
    }
    guard response.headers[.contentType]?.lowercased().hasPrefix("text/event-stream") == true else {
      throw HTTPClientError(
        kind: .protocolError, origin: origin, detail: "the response is not text/event-stream")
    }
    return ServerSentEvents(body: response.body, origin: origin)
  }
}

/// The events of one stream, for one reader, at its pace. It ends when the server ends the response.
public struct ServerSentEvents: AsyncSequence, Sendable {
  public typealias Element = ServerSentEvent
  public typealias Failure = HTTPClientError

  let body: HTTPClientResponseBody
  let origin: String

  /// The iterator over the events.
  public struct AsyncIterator: AsyncIteratorProtocol {
    private var bytes: HTTPClientResponseBody.AsyncIterator
    private var parser = ServerSentEventParser()
    private var ready: ArraySlice<ServerSentEvent> = []
    private let origin: String

    init(_ events: ServerSentEvents) {
      bytes = events.body.makeAsyncIterator()
      origin = events.origin
    }

    /// The next event; `nil` at the end of the stream.
    public mutating func next(
      isolation actor: isolated (any Actor)? = #isolation
    ) async throws(HTTPClientError) -> ServerSentEvent? {
      while true {
        if let event = ready.popFirst() { return event }
        guard let chunk = try await bytes.next(isolation: actor) else { return nil }
        do {
          ready = try parser.feed(chunk)[...]
        } catch {
          throw HTTPClientError(
            kind: .tooLarge, origin: origin, detail: "one event has more than 1 MiB")
        }
      }
    }
  }

  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
}
