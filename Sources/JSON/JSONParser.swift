extension JSONValue {
  /// How deep arrays and objects may nest unless the caller says otherwise.
  public static let defaultMaximumDepth = 64

  /// Parses one JSON text strictly by RFC 8259.
  ///
  /// Refused beyond the grammar: invalid UTF-8, a byte order mark, duplicate member names, unpaired surrogate escapes,
  /// numbers beyond a double, nesting deeper than `maximumDepth`, anything but white space after the value.
  public static func parse(_ bytes: [UInt8], maximumDepth: Int = defaultMaximumDepth) throws(JSONParseError)
    -> JSONValue
  {
    var parser = JSONParser(bytes: bytes, maximumDepth: maximumDepth)
    return try parser.document()
  }

  /// Parses a JSON text held in a string; see `parse(_:maximumDepth:)`.
  public static func parse(_ text: String) throws(JSONParseError) -> JSONValue { try parse(Array(text.utf8)) }
}

/// A recursive descent parser; its recursion is bounded by `maximumDepth`.
struct JSONParser {
  let bytes: [UInt8]
  let maximumDepth: Int
  var offset = 0
  private var depth = 0

  init(bytes: [UInt8], maximumDepth: Int) {
    self.bytes = bytes
    self.maximumDepth = maximumDepth
  }

  mutating func document() throws(JSONParseError) -> JSONValue {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      throw failure(.byteOrderMark, at: 0, "the text starts with a byte order mark; send plain UTF-8")
    }
    skipWhitespace()
    let value = try value()
    skipWhitespace()
    if offset < bytes.count {
      throw failure(.trailingGarbage, at: offset, "nothing may follow the JSON value, found \(found(at: offset))")
    }
    return value
  }

  private mutating func value() throws(JSONParseError) -> JSONValue {
    guard offset < bytes.count else { throw end("a value") }
    switch bytes[offset] {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    default: throw failure(.syntax, at: offset, "expected a value, found \(found(at: offset))")
    }
  }

  private mutating func object() throws(JSONParseError) -> JSONValue {
    try enter()
    var object = JSONObject()
    skipWhitespace()
    if take(UInt8(ascii: "}")) {
      depth -= 1
      return .object(object)
    }
    while true {
      skipWhitespace()
      guard offset < bytes.count else { throw end("a member name") }
      guard bytes[offset] == UInt8(ascii: "\"") else {
        throw failure(.syntax, at: offset, "expected a member name in double quotes, found \(found(at: offset))")
      }
      let start = offset
      let name = try string()
      skipWhitespace()
      try expect(UInt8(ascii: ":"), "\":\" after the member name")
      skipWhitespace()
      let member = try value()
      guard object.insertNew(name, member) else {
        throw failure(.duplicateKey, at: start, "the member \"\(name)\" is given twice")
      }
      skipWhitespace()
      if take(UInt8(ascii: ",")) { continue }
      try expect(UInt8(ascii: "}"), "\",\" or \"}\"")
      depth -= 1
      return .object(object)
    }
  }

  private mutating func array() throws(JSONParseError) -> JSONValue {
    try enter()
    var elements: [JSONValue] = []
    skipWhitespace()
    if take(UInt8(ascii: "]")) {
      depth -= 1
      return .array(elements)
    }
    while true {
      skipWhitespace()
      elements.append(try value())
      skipWhitespace()
      if take(UInt8(ascii: ",")) { continue }
      try expect(UInt8(ascii: "]"), "\",\" or \"]\"")
      depth -= 1
      return .array(elements)
    }
  }

  private mutating func literal(_ text: StaticString, _ value: JSONValue) throws(JSONParseError) -> JSONValue {
    let start = offset
    let matches = text.withUTF8Buffer { word in
      word.count <= bytes.count - start && word.elementsEqual(bytes[start..<start + word.count])
    }
    guard matches else { throw failure(.syntax, at: start, "expected \(text)") }
    offset += text.utf8CodeUnitCount
    return value
  }

  /// Steps over the opening bracket, one level deeper.
  private mutating func enter() throws(JSONParseError) {
    depth += 1
    if depth > maximumDepth {
      throw failure(.depthExceeded, at: offset, "nested deeper than \(maximumDepth) levels")
    }
    offset += 1
  }

  private mutating func skipWhitespace() {
    while offset < bytes.count {
      switch bytes[offset] {
      case 0x20, 0x0A, 0x0D, 0x09: offset += 1
      default: return
      }
    }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard offset < bytes.count, bytes[offset] == byte else { return false }
    offset += 1
    return true
  }

  private mutating func expect(_ byte: UInt8, _ what: String) throws(JSONParseError) {
    if take(byte) { return }
    if offset >= bytes.count { throw end(what) }
    throw failure(.syntax, at: offset, "expected \(what), found \(found(at: offset))")
  }

  func end(_ what: String) -> JSONParseError {
    failure(.unexpectedEnd, at: bytes.count, "the text ends where \(what) was expected")
  }

  func failure(_ code: JSONParseError.Code, at offset: Int, _ message: String) -> JSONParseError {
    JSONParseError(code, at: offset, in: bytes, message)
  }

  func found(at offset: Int) -> String {
    let byte = bytes[offset]
    if byte > 0x20, byte < 0x7F { return "'\(Character(UnicodeScalar(byte)))'" }
    let hex = String(byte, radix: 16, uppercase: true)
    return "byte 0x\(hex.count < 2 ? "0" + hex : hex)"
  }
}
