/// Decodes the frames that a WebSocket client sends (RFC 6455, 5) as their bytes come, joins fragments, and refuses
/// what breaks the protocol. A pure value.
package struct FrameDecoder: Sendable {
  package enum Event: Equatable, Sendable {
    case text(String)
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    /// The client's close frame; nil code if it gave none.
    case close(code: UInt16?, reason: String)
  }

  /// Why the connection has to be closed, with the code to close it with.
  package enum Fault: Error, Equatable, Sendable {
    case protocolError
    case invalidText
    case messageTooLarge

    package var closeCode: UInt16 {
      switch self {
      case .protocolError: 1002
      case .invalidText: 1007
      case .messageTooLarge: 1009
      }
    }
  }

  private enum Opcode: UInt8 {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    var isControl: Bool { rawValue >= 8 }
  }

  private static let longestControlPayload: UInt64 = 125

  private let maximumMessage: Int
  private var header: [UInt8] = []
  private var inPayload = false
  private var isFinal = false
  private var opcode = Opcode.continuation
  private var mask: (UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0)
  private var taken = 0
  private var remaining = 0
  private var control: [UInt8] = []
  /// The kind of the message whose fragments are coming.
  private var messageKind: Opcode?
  private var message: [UInt8] = []

  package init(maximumMessage: Int) { self.maximumMessage = maximumMessage }

  /// Takes bytes of `input` from `position` on, until a frame or message is complete. Nil when all bytes are taken.
  package mutating func next(_ input: Span<UInt8>, _ position: inout Int) throws(Fault) -> Event? {
    while true {
      if !inPayload {
        guard try readHeader(input, &position) else { return nil }
      }
      readPayload(input, &position)
      guard remaining == 0 else { return nil }
      inPayload = false
      if let event = try endFrame() { return event }
    }
  }

  private mutating func readHeader(_ input: Span<UInt8>, _ position: inout Int) throws(Fault) -> Bool {
    while position < input.count {
      header.append(input[position])
      position += 1
      if header.count < 2 { continue }
      let short = header[1] & 0x7F
      let extended = short == 126 ? 2 : short == 127 ? 8 : 0
      if header.count == 2 { try acceptFirstBytes() }
      guard header.count == 2 + extended + 4 else { continue }
      var length = UInt64(short)
      if extended > 0 {
        length = 0
        for byte in header[2..<2 + extended] { length = length << 8 | UInt64(byte) }
        // The shortest form is required: RFC 6455, 5.2.
        guard length >= (extended == 2 ? 126 : 65_536), length >> 63 == 0 else { throw .protocolError }
      }
      let room = maximumMessage - (opcode.isControl ? 0 : message.count)
      guard length <= UInt64(max(0, opcode.isControl ? Int(Self.longestControlPayload) : room)) else {
        throw .messageTooLarge
      }
      let key = 2 + extended
      mask = (header[key], header[key + 1], header[key + 2], header[key + 3])
      remaining = Int(length)
      taken = 0
      header.removeAll(keepingCapacity: true)
      inPayload = true
      return true
    }
    return false
  }

  private mutating func acceptFirstBytes() throws(Fault) {
    guard header[0] & 0x70 == 0, header[1] & 0x80 != 0, let opcode = Opcode(rawValue: header[0] & 0x0F) else {
      throw .protocolError
    }
    isFinal = header[0] & 0x80 != 0
    self.opcode = opcode
    if opcode.isControl {
      guard isFinal, UInt64(header[1] & 0x7F) <= Self.longestControlPayload else { throw .protocolError }
    } else {
      guard (opcode == .continuation) == (messageKind != nil) else { throw .protocolError }
      if opcode != .continuation { messageKind = opcode }
    }
  }

  private mutating func readPayload(_ input: Span<UInt8>, _ position: inout Int) {
    let count = min(remaining, input.count - position)
    guard count > 0 else { return }
    if opcode.isControl {
      unmask(input, position..<position + count, into: &control)
    } else {
      unmask(input, position..<position + count, into: &message)
    }
    position += count
    taken += count
    remaining -= count
  }

  private func unmask(_ input: Span<UInt8>, _ range: Range<Int>, into output: inout [UInt8]) {
    output.reserveCapacity(max(output.capacity, output.count + range.count))
    var phase = taken & 3
    for index in range {
      let key = phase == 0 ? mask.0 : phase == 1 ? mask.1 : phase == 2 ? mask.2 : mask.3
      output.append(input[index] ^ key)
      phase = (phase + 1) & 3
    }
  }

  private mutating func endFrame() throws(Fault) -> Event? {
    if opcode.isControl {
      let payload = control
      control = []
      switch opcode {
      case .ping: return .ping(payload)
      case .pong: return .pong(payload)
      default: return try close(payload)
      }
    }
    guard isFinal else { return nil }
    let payload = message
    let kind = messageKind
    message = []
    messageKind = nil
    if kind == .binary { return .binary(payload) }
    guard let text = String(validating: payload, as: UTF8.self) else { throw .invalidText }
    return .text(text)
  }

  private func close(_ payload: [UInt8]) throws(Fault) -> Event {
    if payload.isEmpty { return .close(code: nil, reason: "") }
    guard payload.count >= 2 else { throw .protocolError }
    let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
    switch code {
    case 1000...1003, 1007...1014, 3000...4999: break
    default: throw .protocolError
    }
    guard let reason = String(validating: payload[2...], as: UTF8.self) else { throw .invalidText }
    return .close(code: code, reason: reason)
  }
}
