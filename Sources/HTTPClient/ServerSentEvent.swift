/// One event of a `text/event-stream` (WHATWG HTML, 9.2 "Server-sent events").
public struct ServerSentEvent: Sendable, Equatable {
  /// The stream's last event id as of this event; a reconnect sends it as `Last-Event-ID`.
  public var id: String?
  /// The event's type, `message` unless the server said otherwise.
  public var event: String
  /// The data lines, joined by newlines.
  public var data: String
  /// How long the server asks to wait before a reconnect, as last said on this stream.
  public var retry: Duration?

  /// Makes an event.
  public init(id: String? = nil, event: String = "message", data: String, retry: Duration? = nil) {
    self.id = id
    self.event = event
    self.data = data
    self.retry = retry
  }
}

/// Reads events out of bytes that come in any pieces. A pure value: bytes in, events out.
///
/// As the specification asks: lines end with CR, LF or CRLF; a byte order mark at the start is skipped; comments and
/// unknown fields are ignored; an event without data is not reported; an event cut off by the end is dropped.
public struct ServerSentEventParser: Sendable {
  /// A line or an event grew beyond the limit.
  public struct TooLarge: Error, Sendable {}

  private let limit: Int
  private var line: [UInt8] = []
  private var data: [UInt8] = []
  private var hasData = false
  private var event = ""
  private var id: String?
  private var retry: Duration?
  private var lastWasCarriageReturn = false
  private var isFirstLine = true

  /// `limit`: how many bytes one event's data (and one line) may have.
  public init(limit: Int = 1 << 20) { self.limit = limit }

  /// Takes the next bytes and returns the events they complete.
  public mutating func feed(_ bytes: some Sequence<UInt8>) throws(TooLarge) -> [ServerSentEvent] {
    var events: [ServerSentEvent] = []
    for byte in bytes {
      if byte == 0x0A && lastWasCarriageReturn {
        lastWasCarriageReturn = false
        continue
      }
      lastWasCarriageReturn = byte == 0x0D
      if byte == 0x0A || byte == 0x0D {
        if let event = endLine() { events.append(event) }
      } else {
        line.append(byte)
      }
      guard line.count <= limit, data.count <= limit else { throw TooLarge() }
    }
    return events
  }

  private mutating func endLine() -> ServerSentEvent? {
    defer { line.removeAll(keepingCapacity: true) }
    if isFirstLine {
      isFirstLine = false
      if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
    }
    if line.isEmpty { return dispatch() }
    let colon = line.firstIndex(of: 0x3A) ?? line.endIndex
    var value = line[min(colon + 1, line.endIndex)...]
    if value.first == 0x20 { value = value.dropFirst() }
    switch String(decoding: line[..<colon], as: UTF8.self) {
    case "data":
      if hasData { data.append(0x0A) }
      hasData = true
      data += value
    case "event": event = String(decoding: value, as: UTF8.self)
    case "id": if !value.contains(0) { id = String(decoding: value, as: UTF8.self) }
    case "retry":
      if !value.isEmpty, value.allSatisfy({ (0x30...0x39).contains($0) }),
        let milliseconds = Int(String(decoding: value, as: UTF8.self))
      {
        retry = .milliseconds(milliseconds)
      }
    default: break
    }
    return nil
  }

  private mutating func dispatch() -> ServerSentEvent? {
    defer {
      data.removeAll(keepingCapacity: true)
      hasData = false
      event = ""
    }
    guard hasData else { return nil }
    return ServerSentEvent(
      id: id, event: event.isEmpty ? "message" : event, data: String(decoding: data, as: UTF8.self),
      retry: retry)
  }
}
