/// Writes the frames that a WebSocket server sends: never masked, never fragmented (RFC 6455, 5).
package enum FrameEncoder {
  package enum Kind: UInt8, Sendable {
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10
  }

  /// Appends the header of a frame whose payload has `length` bytes.
  package static func appendHeader(_ kind: Kind, length: Int, to output: inout [UInt8]) {
    output.append(0x80 | kind.rawValue)
    if length < 126 {
      output.append(UInt8(length))
    } else if length < 65_536 {
      output.append(126)
      output.append(UInt8(truncatingIfNeeded: length >> 8))
      output.append(UInt8(truncatingIfNeeded: length))
    } else {
      output.append(127)
      for shift in stride(from: 56, through: 0, by: -8) { output.append(UInt8(truncatingIfNeeded: length >> shift)) }
    }
  }

  /// The payload of a close frame; the reason is cut to what fits.
  package static func closePayload(code: UInt16, reason: String) -> [UInt8] {
    var text = reason
    while text.utf8.count > 123 { text.removeLast() }
    return [UInt8(code >> 8), UInt8(truncatingIfNeeded: code)] + Array(text.utf8)
  }
}
