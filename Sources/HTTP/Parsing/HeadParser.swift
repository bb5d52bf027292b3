/// Parses request heads byte by byte, strictly after RFC 9112.
///
/// A pure value: it is given all bytes of the head that have come so far, goes on where it stopped, and keeps offsets
/// only. Its answer depends on the bytes alone, never on how they were cut into reads.
package struct HeadParser: Sendable {
  private enum State {
    case start, startLineFeed, methodStart, method, target, version
    case fieldStart, name, valueStart, value, valueLineFeed, endLineFeed

    var isRequestLine: Bool {
      switch self {
      case .start, .startLineFeed, .methodStart, .method, .target, .version: true
      default: false
      }
    }
  }

  private static let longestMethod = 32

  private let limits: HeadLimits
  private var state = State.start
  private var position = 0
  private var mark = 0
  private var limit: Int
  private var versionIndex = 0
  private var name = 0..<0
  package private(set) var layout = HeadLayout()

  package init(limits: HeadLimits) {
    self.limits = limits
    limit = limits.requestLine
  }

  /// Makes the parser ready for the next head; keeps its memory.
  package mutating func reset() {
    var fields = layout.fields
    fields.removeAll(keepingCapacity: true)
    layout = HeadLayout()
    layout.fields = fields
    state = .start
    position = 0
    mark = 0
    limit = limits.requestLine
    versionIndex = 0
  }

  /// Goes on with `input`, which begins at the first byte of the head and holds at least what it held last time.
  /// Returns whether the head is complete; `layout` is then valid.
  package mutating func parse(_ input: Span<UInt8>) throws(ParseError) -> Bool {
    let token = ByteSet.token
    let target = ByteSet.target
    let count = input.count
    while position < count {
      if position >= limit { throw state.isRequestLine ? .targetTooLong : .fieldsTooLarge }
      let byte = input[position]
      switch state {
      case .start:
        // One empty line before the request is forgiven: RFC 9112, 2.2.
        if byte == .carriageReturn {
          position += 1
          state = .startLineFeed
        } else {
          state = .methodStart
        }
      case .startLineFeed:
        guard byte == .lineFeed else { throw .malformedRequestLine }
        position += 1
        state = .methodStart
      case .methodStart:
        mark = position
        state = .method
      case .method:
        if token.contains(byte) {
          position += 1
          if position - mark > Self.longestMethod { throw .invalidMethod }
        } else {
          guard byte == .space, position > mark else { throw .invalidMethod }
          layout.method = mark..<position
          position += 1
          mark = position
          state = .target
        }
      case .target:
        let end = min(count, limit)
        while position < end, target.contains(input[position]) { position += 1 }
        if position == end { continue }
        guard position > mark else { throw .malformedRequestLine }
        guard input[position] == .space else { throw .invalidTarget }
        try layout.setTarget(mark..<position, in: input)
        position += 1
        state = .version
      case .version:
        try acceptVersion(byte)
        position += 1
      case .fieldStart:
        if byte == .carriageReturn {
          position += 1
          state = .endLineFeed
        } else if byte == .space || byte == .tab {
          throw layout.fields.isEmpty ? .invalidFieldName : .foldedField
        } else if byte == .lineFeed {
          throw .bareLineBreak
        } else {
          mark = position
          state = .name
        }
      case .name:
        let end = min(count, limit)
        while position < end, token.contains(input[position]) { position += 1 }
        if position == end { continue }
        guard input[position] == .colon, position > mark else { throw .invalidFieldName }
        name = mark..<position
        position += 1
        state = .valueStart
      case .valueStart:
        if byte == .space || byte == .tab {
          position += 1
        } else {
          mark = position
          state = .value
        }
      case .value:
        let end = min(count, limit)
        while position < end, input[position].isFieldValue { position += 1 }
        if position == end { continue }
        if input[position] == .lineFeed { throw .bareLineBreak }
        guard input[position] == .carriageReturn else { throw .invalidFieldValue }
        try endField(input)
        position += 1
        state = .valueLineFeed
      case .valueLineFeed:
        guard byte == .lineFeed else { throw .bareLineBreak }
        position += 1
        state = .fieldStart
      case .endLineFeed:
        guard byte == .lineFeed else { throw .bareLineBreak }
        position += 1
        layout.length = position
        try layout.checkFraming()
        return true
      }
    }
    return false
  }

  /// Whether nothing of a head has come yet.
  package var isIdle: Bool { position == 0 }

  private mutating func acceptVersion(_ byte: UInt8) throws(ParseError) {
    let pattern: StaticString = "HTTP/1.1\r\n"
    switch versionIndex {
    case 5, 7:
      guard byte.isDigit else { throw .malformedRequestLine }
      if versionIndex == 5, byte != UInt8(ascii: "1") { throw .unsupportedVersion }
      if versionIndex == 7 {
        guard byte <= UInt8(ascii: "1") else { throw .unsupportedVersion }
        layout.isHTTP10 = byte == UInt8(ascii: "0")
      }
    default:
      guard byte == pattern.utf8Start[versionIndex] else {
        throw versionIndex == 8 && byte == .lineFeed ? .bareLineBreak : .malformedRequestLine
      }
    }
    versionIndex += 1
    if versionIndex == pattern.utf8CodeUnitCount {
      state = .fieldStart
      limit = position + 1 + limits.fields
    }
  }

  private mutating func endField(_ input: Span<UInt8>) throws(ParseError) {
    guard layout.fields.count < limits.fieldCount else { throw .tooManyFields }
    var end = position
    while end > mark, input[end - 1] == .space || input[end - 1] == .tab { end -= 1 }
    let known = KnownField.index(of: input, in: name)
    layout.fields.append(.init(name: name, value: mark..<end, known: known))
    if let known { try layout.note(KnownField.all[known].role, value: mark..<end, in: input) }
  }
}
