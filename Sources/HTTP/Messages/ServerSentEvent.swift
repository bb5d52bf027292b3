import Execution
import HTTPTypes

/// One event of a `text/event-stream` (WHATWG HTML, 9.2).
public struct ServerSentEvent: Sendable, Equatable {
  /// What a client that reconnects sends as `Last-Event-ID`.
  public var id: String?
  /// The event's type; `message` if nil.
  public var event: String?
  public var data: String
  /// How long the client is to wait before it reconnects.
  public var retry: Duration?

  public init(id: String? = nil, event: String? = nil, data: String, retry: Duration? = nil) {
    self.id = id
    self.event = event
    self.data = data
    self.retry = retry
  }

  /// The bytes on the wire. Line breaks in `data` become further data lines; elsewhere they are dropped, because they
  /// would end the field.
  public var encoded: [UInt8] {
    var output: [UInt8] = []
    if let id { Self.append("id: ", id, to: &output) }
    if let event { Self.append("event: ", event, to: &output) }
    if let retry {
      output.append(utf8: "retry: ")
      output.append(decimal: max(0, retry.milliseconds))
      output.append(utf8: "\n")
    }
    for line in data.split(omittingEmptySubsequences: false, whereSeparator: \.isLineBreak) {
      output.append(utf8: "data: ")
      output.append(contentsOf: line.utf8)
      output.append(utf8: "\n")
    }
    output.append(utf8: "\n")
    return output
  }

  private static func append(_ field: StaticString, _ value: String, to output: inout [UInt8]) {
    output.append(utf8: field)
    for byte in value.utf8 where byte != .lineFeed && byte != .carriageReturn && byte != 0 { output.append(byte) }
    output.append(utf8: "\n")
  }
}

extension Character {
  fileprivate var isLineBreak: Bool { self == "\n" || self == "\r" || self == "\r\n" }
}

/// Sends events of one stream.
public struct ServerSentEventWriter: Sendable {
  let body: BodyWriter
  let sent: Lock<Int>

  /// Sends `event` at once; suspends while the client does not keep up. Throws ``StreamError``.
  public func send(_ event: ServerSentEvent) async throws {
    sent.withLock { $0 += 1 }
    try await body.write(event.encoded)
  }
}

extension Response {
  /// A stream of events, open until `produce` returns or throws or the client leaves.
  ///
  /// When nothing was sent for `heartbeat`, a comment is: it keeps proxies from closing the connection, and it is how a
  /// vanished client is noticed.
  public static func serverSentEvents(
    headers: HTTPFields = [:], heartbeat: Duration = .seconds(15), clock: some Clock<Duration> = ContinuousClock(),
    _ produce: @escaping @Sendable (ServerSentEventWriter) async throws -> Void
  ) -> Response {
    var headers = headers
    headers[.contentType] = "text/event-stream"
    headers[.cacheControl] = "no-store"
    return Response(
      headers: headers,
      body: .stream { body in
        let sent = Lock(0)
        try await withThrowingTaskGroup(of: Bool.self) { group in
          group.addTask {
            try await produce(ServerSentEventWriter(body: body, sent: sent))
            return true
          }
          group.addTask {
            var seen = sent.withLock { $0 }
            while true {
              try await clock.sleep(for: heartbeat)
              let now = sent.withLock { $0 }
              if now == seen { try await body.write(":\n\n") }
              seen = now
            }
          }
          defer { group.cancelAll() }
          _ = try await group.next()
        }
      })
  }
}
