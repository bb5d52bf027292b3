import JSON
import Testing

@Suite("RFC 8259 parser")
struct ParserTests {
  static let accepted: [(String, JSONValue)] = [
    ("null", nil), (" true ", true), ("\t\r\nfalse\n", false), ("0", 0), ("-0", 0), ("-1", -1), ("1.5", 1.5),
    ("1e2", 100), ("1E+2", 100), ("12e-1", 1.2), ("9223372036854775807", .integer(.max)),
    ("-9223372036854775808", .integer(.min)), ("9223372036854775808", .number(9_223_372_036_854_775_808)),
    ("1e-400", 0.0), ("\"\"", ""), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"), (#""\u00e9\u20AC""#, "é€"),
    (#""\ud83d\ude00x""#, "😀x"), (#""\u0000""#, "\0"), ("\"é😀\u{7f}\"", "é😀\u{7f}"), ("[]", []), ("[ ]", []),
    ("[1,[2],{}]", [1, [2], [:]]), ("{}", [:]), (#"{"a":1,"b":{"c":null}}"#, ["a": 1, "b": ["c": nil]]),
    (#"{"":0}"#, ["": 0]),
  ]

  @Test("valid texts give their value", arguments: accepted)
  func accepts(_ text: String, _ value: JSONValue) throws {
    #expect(try JSONValue.parse(text) == value)
  }

  static let refused: [(String, JSONParseError.Code, Int)] = [
    ("", .unexpectedEnd, 0), ("  ", .unexpectedEnd, 2), ("nul", .syntax, 0), ("NULL", .syntax, 0), ("'a'", .syntax, 0),
    ("tru", .syntax, 0), ("+1", .syntax, 0), (".5", .syntax, 0), ("01", .invalidNumber, 0), ("-", .invalidNumber, 1),
    ("-01", .invalidNumber, 1), ("1.", .invalidNumber, 2), ("1.e1", .invalidNumber, 2), ("1e", .invalidNumber, 2),
    ("1e+", .invalidNumber, 3), ("0x10", .trailingGarbage, 1), ("NaN", .syntax, 0), ("Infinity", .syntax, 0),
    ("1e400", .numberOutOfRange, 0), ("-1e400", .numberOutOfRange, 0), ("1 2", .trailingGarbage, 2),
    ("{} ,", .trailingGarbage, 3), ("[1,]", .syntax, 3), ("[,1]", .syntax, 1), ("[1 2]", .syntax, 3),
    ("[1", .unexpectedEnd, 2), ("]", .syntax, 0), ("{\"a\"}", .syntax, 4), ("{\"a\":}", .syntax, 5),
    ("{\"a\":1,}", .syntax, 7), ("{a:1}", .syntax, 1), ("{\"a\":1 \"b\":2}", .syntax, 7), ("{", .unexpectedEnd, 1),
    ("{\"a\":1,\"a\":2}", .duplicateKey, 7), ("{\"a\":1,\"\\u0061\":2}", .duplicateKey, 7),
    ("\"", .unexpectedEnd, 1), ("\"a\nb\"", .controlCharacter, 2), ("\"\t\"", .controlCharacter, 1),
    (#""\x""#, .invalidEscape, 1), (#""\u12g4""#, .invalidEscape, 1), (#""\u12""#, .unexpectedEnd, 6),
    (#""\ud800""#, .loneSurrogate, 1), (#""\udc00""#, .loneSurrogate, 1), (#""\ud800\u0041""#, .loneSurrogate, 1),
    (#""\ud800x""#, .loneSurrogate, 1), (#""\udc00\ud800""#, .loneSurrogate, 1), ("\"\\", .unexpectedEnd, 2),
    ("\u{FEFF}1", .byteOrderMark, 0), ("// c\n1", .syntax, 0), ("\u{a0}1", .syntax, 0),
  ]

  @Test("invalid texts are refused with a code and a place", arguments: refused)
  func refuses(_ text: String, _ code: JSONParseError.Code, _ offset: Int) {
    #expect {
      try JSONValue.parse(text)
    } throws: { error in
      guard let error = error as? JSONParseError else { return false }
      return error.code == code && error.offset == offset && !error.message.isEmpty
    }
  }

  static let badUTF8: [([UInt8], Int)] = [
    ([0x22, 0xC0, 0xAF, 0x22], 1),  // overlong "/"
    ([0x22, 0xE0, 0x80, 0xAF, 0x22], 1),  // overlong, three bytes
    ([0x22, 0xF0, 0x80, 0x80, 0xAF, 0x22], 1),  // overlong, four bytes
    ([0x22, 0xED, 0xA0, 0x80, 0x22], 1),  // a surrogate
    ([0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], 1),  // beyond U+10FFFF
    ([0x22, 0x41, 0x80, 0x22], 2),  // a continuation byte alone
    ([0x22, 0xC3, 0x22], 1),  // cut off
    ([0x22, 0xFF, 0x22], 1),
    ([0x22, 0x5C, 0x6E, 0xFF, 0x22], 3),  // after an escape
  ]

  @Test("invalid UTF-8 is refused where it starts", arguments: badUTF8)
  func refusesInvalidUTF8(_ bytes: [UInt8], _ offset: Int) {
    #expect {
      try JSONValue.parse(bytes)
    } throws: {
      ($0 as? JSONParseError)?.code == .invalidUTF8 && ($0 as? JSONParseError)?.offset == offset
    }
  }

  @Test("nesting is refused beyond the limit and accepted at it")
  func depth() throws {
    let nested = { (depth: Int) in String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    _ = try JSONValue.parse(nested(64))
    for depth in [65, 1_000_000] {
      #expect {
        try JSONValue.parse(nested(depth))
      } throws: {
        ($0 as? JSONParseError)?.code == .depthExceeded && ($0 as? JSONParseError)?.offset == 64
      }
    }
    #expect(throws: JSONParseError.self) {
      try JSONValue.parse(String(repeating: "{\"a\":", count: 100_000))
    }
  }

  @Test("a number of a million digits ends in an error, not in a hang")
  func hugeNumber() throws {
    #expect(throws: JSONParseError.self) { try JSONValue.parse(String(repeating: "9", count: 1_000_000)) }
    #expect(try JSONValue.parse("0." + String(repeating: "1", count: 100_000)).doubleValue == 1.0 / 9)
  }

  @Test("an error tells line and column")
  func position() {
    #expect {
      try JSONValue.parse("{\n  \"a\": 1,\n  \"b\": x\n}")
    } throws: {
      guard let error = $0 as? JSONParseError else { return false }
      return error.line == 3 && error.column == 8
        && error.description.hasPrefix("line 3, column 8 (byte 19): expected a")
    }
  }

  @Test("every prefix of a valid text is refused without a crash, and so is every text with one byte changed or passed")
  func mutations() throws {
    let text = Array(#"{"a":[1,-2.5e3,true,null,"x\u00e9\n é"],"b":{"c":[]}}"#.utf8)
    for end in 0..<text.count { #expect(throws: JSONParseError.self) { try JSONValue.parse(Array(text[..<end])) } }
    for position in text.indices {
      for byte in UInt8.min...UInt8.max {
        var mutated = text
        mutated[position] = byte
        // Whatever is accepted must survive a round trip.
        if let value = try? JSONValue.parse(mutated) { #expect(try JSONValue.parse(value.bytes) == value) }
      }
    }
  }

  @Test("large objects refuse duplicates too and keep their order")
  func largeObject() throws {
    let members = (0..<500).map { "\"k\($0)\":\($0)" }
    let value = try JSONValue.parse("{" + members.joined(separator: ",") + "}")
    #expect(value.objectValue?.keys == (0..<500).map { "k\($0)" })
    #expect(value["k499"] == 499)
    #expect(throws: JSONParseError.self) {
      try JSONValue.parse("{" + members.joined(separator: ",") + ",\"k250\":0}")
    }
  }
}
