extension JSONParser {
  /// Parses a string whose opening quote is at `offset`.
  mutating func string() throws(JSONParseError) -> String {
    let start = offset + 1
    var cursor = start
    while cursor < bytes.count {
      let byte = bytes[cursor]
      if byte == UInt8(ascii: "\"") {
        offset = cursor + 1
        return try text(start, cursor)
      }
      if byte == UInt8(ascii: "\\") { return try escapedString(from: start, firstEscape: cursor) }
      if byte < 0x20 { throw controlCharacter(at: cursor) }
      cursor += 1
    }
    throw end("the closing quote of a string")
  }

  private mutating func escapedString(from start: Int, firstEscape: Int) throws(JSONParseError) -> String {
    var result = try text(start, firstEscape)
    var cursor = firstEscape
    var runStart = cursor
    while cursor < bytes.count {
      let byte = bytes[cursor]
      switch byte {
      case UInt8(ascii: "\""):
        result += try text(runStart, cursor)
        offset = cursor + 1
        return result
      case UInt8(ascii: "\\"):
        result += try text(runStart, cursor)
        result.unicodeScalars.append(try escape(&cursor))
        runStart = cursor
      case 0..<0x20: throw controlCharacter(at: cursor)
      default: cursor += 1
      }
    }
    throw end("the closing quote of a string")
  }

  /// Decodes the escape at `cursor` and moves past it.
  private func escape(_ cursor: inout Int) throws(JSONParseError) -> Unicode.Scalar {
    let start = cursor
    guard start + 1 < bytes.count else { throw end("an escaped character") }
    cursor += 2
    switch bytes[start + 1] {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{08}"
    case UInt8(ascii: "f"): return "\u{0C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let high = try hex4(&cursor, escapeAt: start)
      if let scalar = Unicode.Scalar(high) { return scalar }
      // Not a scalar: a surrogate, which is half a character. Only a high one followed by a low one makes sense.
      guard high < 0xDC00, cursor + 1 < bytes.count, bytes[cursor] == UInt8(ascii: "\\"),
        bytes[cursor + 1] == UInt8(ascii: "u")
      else { throw loneSurrogate(at: start) }
      cursor += 2
      let low = try hex4(&cursor, escapeAt: cursor - 2)
      guard (0xDC00...0xDFFF).contains(low),
        let scalar = Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00))
      else { throw loneSurrogate(at: start) }
      return scalar
    default:
      throw failure(
        .invalidEscape, at: start, #"\ may be followed by one of " \ / b f n r t u, found \#(found(at: start + 1))"#)
    }
  }

  private func hex4(_ cursor: inout Int, escapeAt start: Int) throws(JSONParseError) -> UInt32 {
    guard cursor + 4 <= bytes.count else { throw end("four hexadecimal digits") }
    var value: UInt32 = 0
    for position in cursor..<cursor + 4 {
      guard let digit = hexDigitValue(bytes[position]) else {
        throw failure(.invalidEscape, at: start, #"\u must be followed by four hexadecimal digits"#)
      }
      value = value << 4 | UInt32(digit)
    }
    cursor += 4
    return value
  }

  /// The bytes of that range as text, refused unless they are UTF-8.
  private func text(_ start: Int, _ end: Int) throws(JSONParseError) -> String {
    if let text = String(validating: bytes[start..<end], as: UTF8.self) { return text }
    var position = start
    var decoder = UTF8()
    var iterator = bytes[start..<end].makeIterator()
    scan: while true {
      switch decoder.decode(&iterator) {
      case .scalarValue(let scalar): position += UTF8.width(scalar)
      case .emptyInput, .error: break scan
      }
    }
    throw failure(.invalidUTF8, at: position, "the text is not valid UTF-8")
  }

  private func controlCharacter(at position: Int) -> JSONParseError {
    failure(
      .controlCharacter, at: position, "control characters in a string must be escaped, found \(found(at: position))")
  }

  private func loneSurrogate(at position: Int) -> JSONParseError {
    failure(.loneSurrogate, at: position, #"\u escape of half a surrogate pair; write both halves or the character"#)
  }

  /// Parses a number; `offset` is at its first byte.
  mutating func number() throws(JSONParseError) -> JSONValue {
    let start = offset
    var cursor = offset
    let negative = bytes[cursor] == UInt8(ascii: "-")
    if negative { cursor += 1 }
    let digitsStart = cursor
    var magnitude: UInt64 = 0
    var fits = true
    while cursor < bytes.count, let digit = decimalDigit(cursor) {
      let (product, overflow) = magnitude.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
      if overflow || carry { fits = false }
      magnitude = sum
      cursor += 1
    }
    guard cursor > digitsStart else { throw invalidNumber(cursor, "a digit must follow \"-\"") }
    if bytes[digitsStart] == UInt8(ascii: "0"), cursor - digitsStart > 1 {
      throw invalidNumber(digitsStart, "a number has no leading zeros")
    }
    var whole = true
    if cursor < bytes.count, bytes[cursor] == UInt8(ascii: ".") {
      whole = false
      cursor += 1
      try digits(&cursor, "a digit must follow the decimal point")
    }
    if cursor < bytes.count, bytes[cursor] | 0x20 == UInt8(ascii: "e") {
      whole = false
      cursor += 1
      if cursor < bytes.count, bytes[cursor] == UInt8(ascii: "+") || bytes[cursor] == UInt8(ascii: "-") { cursor += 1 }
      try digits(&cursor, "a digit must follow the exponent sign")
    }
    offset = cursor
    if whole, fits {
      if !negative, let value = Int64(exactly: magnitude) { return .integer(value) }
      if negative, magnitude <= UInt64(Int64.max) + 1 { return .integer(Int64(truncatingIfNeeded: 0 &- magnitude)) }
    }
    guard let value = Double(String(decoding: bytes[start..<cursor], as: UTF8.self)), value.isFinite else {
      throw failure(.numberOutOfRange, at: start, "the number is beyond the range of a 64-bit float")
    }
    return .number(value)
  }

  private func digits(_ cursor: inout Int, _ message: String) throws(JSONParseError) {
    let start = cursor
    while cursor < bytes.count, decimalDigit(cursor) != nil { cursor += 1 }
    if cursor == start { throw invalidNumber(cursor, message) }
  }

  private func decimalDigit(_ position: Int) -> UInt8? {
    let digit = bytes[position] &- UInt8(ascii: "0")
    return digit < 10 ? digit : nil
  }

  private func invalidNumber(_ position: Int, _ message: String) -> JSONParseError {
    failure(.invalidNumber, at: position, message)
  }
}

/// The value of one hexadecimal digit in ASCII, either case.
func hexDigitValue(_ byte: UInt8) -> UInt8? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
  default: nil
  }
}
