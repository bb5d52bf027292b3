/// Cuts a stream of bytes into JSON objects that follow one another without any frame (RFC 7047, 4, over JSON-RPC 1.0).
///
/// A pure state machine. It knows just enough of JSON to find the end of an object: brackets and strings with escapes.
/// Whether an object is well-formed is the parser's business. Bytes are looked at once, however they arrive.
struct MessageSplitter {
  /// Why the stream cannot be read any further.
  enum Fault: Error, Hashable {
    case messageTooLarge(limit: Int)
    case nestedTooDeep(limit: Int)
    /// A message starts with something else than `{`.
    case notAnObject(byte: UInt8)
    case unbalancedBrackets
  }

  let maximumSize: Int
  let maximumDepth: Int
  private var buffer: [UInt8] = []
  /// Where the message that is being read starts; everything before it was handed out.
  private var start = 0
  /// What has been looked at.
  private var position = 0
  private var depth = 0
  private var isInString = false
  private var isEscaped = false

  init(maximumSize: Int, maximumDepth: Int) {
    self.maximumSize = maximumSize
    self.maximumDepth = maximumDepth
  }

  mutating func append(_ bytes: some Sequence<UInt8>) {
    if start > 0 {
      buffer.removeSubrange(..<start)
      position -= start
      start = 0
    }
    buffer.append(contentsOf: bytes)
  }

  /// The next whole message, or nil when more bytes are needed. After a fault the stream is of no use.
  mutating func next() throws(Fault) -> [UInt8]? {
    while position < buffer.count {
      let byte = buffer[position]
      if depth == 0 {
        switch byte {
        case 0x20, 0x0A, 0x0D, 0x09:
          position += 1
          start = position
          continue
        case UInt8(ascii: "{"): break
        default: throw .notAnObject(byte: byte)
        }
      }
      position += 1
      if position - start > maximumSize { throw .messageTooLarge(limit: maximumSize) }
      if isInString {
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
          isInString = false
        }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""): isInString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        if depth > maximumDepth { throw .nestedTooDeep(limit: maximumDepth) }
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if depth == 0 {
          if byte != UInt8(ascii: "}") { throw .unbalancedBrackets }
          let message = Array(buffer[start..<position])
          start = position
          return message
        }
      default: break
      }
    }
    return nil
  }
}

extension MessageSplitter.Fault: CustomStringConvertible {
  var description: String {
    switch self {
    case .messageTooLarge(let limit): "a message is larger than \(limit) bytes"
    case .nestedTooDeep(let limit): "a message is nested deeper than \(limit) levels"
    case .notAnObject(let byte): "a message starts with the byte \(byte) and not with \"{\""
    case .unbalancedBrackets: "a message ends with \"]\" where it started with \"{\""
    }
  }
}
