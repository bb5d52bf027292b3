import HTTPTypes

/// Writes response heads.
enum ResponseEncoder {
  /// How the client finds the end of the body.
  enum Framing {
    /// There is none, and no field says so (1xx, 204, 304).
    case none
    /// As many bytes as the handler's own Content-Length says, if it gave one (HEAD, 304).
    case asGiven
    case length(Int64)
    case chunked
    /// Until the connection closes: for streams to HTTP/1.0.
    case close
    /// The connection changes its protocol.
    case upgrade
  }

  enum Persistence {
    case close
    /// HTTP/1.1 stays open without a word.
    case keepAlive
    case keepAliveSaid
  }

  static func encode(
    _ response: Response, framing: Framing, persistence: Persistence, date: [UInt8], into output: inout [UInt8]
  ) {
    appendStatusLine(response.status, to: &output)
    var hasDate = false
    for field in response.headers {
      switch field.name.canonicalName {
      case "transfer-encoding", "connection", "keep-alive", "upgrade": continue
      case "content-length":
        guard case .asGiven = framing else { continue }
      case "date": hasDate = true
      default: break
      }
      output.append(utf8: field.name.rawName)
      output.append(utf8: ": ")
      field.withUnsafeBytesOfValue { output.append(contentsOf: $0) }
      output.append(utf8: "\r\n")
    }
    if !hasDate { output += date }
    switch framing {
    case .none, .asGiven, .close: break
    case .length(let length):
      output.append(utf8: "Content-Length: ")
      output.append(decimal: length)
      output.append(utf8: "\r\n")
    case .chunked: output.append(utf8: "Transfer-Encoding: chunked\r\n")
    case .upgrade: output.append(utf8: "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    }
    if case .upgrade = framing { return }
    switch persistence {
    case .close: output.append(utf8: "Connection: close\r\n\r\n")
    case .keepAlive: output.append(utf8: "\r\n")
    case .keepAliveSaid: output.append(utf8: "Connection: keep-alive\r\n\r\n")
    }
  }

  private static func appendStatusLine(_ status: HTTPResponse.Status, to output: inout [UInt8]) {
    if status.code == 200 {
      output.append(utf8: "HTTP/1.1 200 OK\r\n")
      return
    }
    output.append(utf8: "HTTP/1.1 ")
    output.append(decimal: Int64(status.code))
    output.append(utf8: " ")
    output.append(utf8: status.title)
    output.append(utf8: "\r\n")
  }
}

extension [UInt8] {
  /// Appends the bytes of `text`.
  @inline(__always)
  mutating func append(utf8 text: String) {
    var text = text
    text.withUTF8 { append(contentsOf: $0) }
  }

  @inline(__always)
  mutating func append(utf8 text: StaticString) {
    append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func append(decimal number: Int64) {
    if number >= 10 { append(decimal: number / 10) }
    append(UInt8(ascii: "0") + UInt8(number % 10))
  }

  /// Appends a chunk size in hexadecimal (RFC 9112, 7.1).
  mutating func append(hex number: Int) {
    if number >= 16 { append(hex: number >> 4) }
    let digit = UInt8(number & 15)
    append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
  }
}
