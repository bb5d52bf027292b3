import Testing

@testable import HTTP

@Suite("Request head parser")
struct HeadParserTests {
  enum Outcome: Equatable {
    case complete(HeadLayout)
    case needsMore
    case refused(ParseError)
  }

  /// Parses `text` given in pieces that end at `cuts`.
  static func parse(_ text: String, cuts: [Int] = [], limits: HeadLimits = HeadLimits()) -> Outcome {
    let bytes = Array(text.utf8)
    var parser = HeadParser(limits: limits)
    do {
      for end in cuts + [bytes.count] {
        if try parser.parse(bytes.span.extracting(0..<end)) { return .complete(parser.layout) }
      }
      return .needsMore
    } catch {
      return .refused(error)
    }
  }

  static let refused: [(String, ParseError)] = [
    ("GET / HTTP/1.1\r\n\r\n", .missingHost),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .duplicateHost),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", .duplicateHost),
    ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", .invalidHost),
    ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", .invalidHost),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .invalidHost),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", .duplicateContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", .duplicateContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", .invalidContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", .invalidContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", .invalidContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", .invalidContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", .invalidContentLength),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", .invalidContentLength),
    (
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      .contentLengthWithTransferEncoding
    ),
    (
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
      .contentLengthWithTransferEncoding
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unsupportedTransferCoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", .unsupportedTransferCoding),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", .unsupportedTransferCoding),
    (
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
      .duplicateTransferEncoding
    ),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .invalidFieldName),
    ("GET / HTTP/1.1\r\n: a\r\n\r\n", .invalidFieldName),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .invalidFieldName),
    ("GET / HTTP/1.1\r\nHo\u{e9}st: a\r\n\r\n", .invalidFieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", .invalidFieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", .foldedField),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n", .invalidFieldValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{7f}\r\n\r\n", .invalidFieldValue),
    ("GET / HTTP/1.1\nHost: a\n\n", .bareLineBreak),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineBreak),
    ("GET / HTTP/1.1\r\nHost: a\rX\r\n\r\n", .bareLineBreak),
    ("GET / HTTP/1.1\r\nHost: a\r\n\rX", .bareLineBreak),
    ("GET  / HTTP/1.1\r\n", .malformedRequestLine),
    ("GET /a b HTTP/1.1\r\n", .malformedRequestLine),
    ("GET /\r\n", .invalidTarget),
    (" GET / HTTP/1.1\r\n", .invalidMethod),
    ("\r\n\r\nGET / HTTP/1.1\r\n", .invalidMethod),
    ("G\u{1}T / HTTP/1.1\r\n", .invalidMethod),
    ("\u{16}\u{3}\u{1}\u{2}", .invalidMethod),
    ("GETGETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\n", .invalidMethod),
    ("GET foo HTTP/1.1\r\n", .invalidTarget),
    ("GET * HTTP/1.1\r\n", .invalidTarget),
    ("GET /a#b HTTP/1.1\r\n", .invalidTarget),
    ("GET /%zz HTTP/1.1\r\n", .invalidTarget),
    ("GET /%4 HTTP/1.1\r\n", .invalidTarget),
    ("GET /\u{e9} HTTP/1.1\r\n", .invalidTarget),
    ("GET /\\a HTTP/1.1\r\n", .invalidTarget),
    ("GET http:///a HTTP/1.1\r\n", .invalidTarget),
    ("GET http://u@h/a HTTP/1.1\r\n", .invalidTarget),
    ("GET ftp://h/a HTTP/1.1\r\n", .invalidTarget),
    ("CONNECT h:443 HTTP/1.1\r\n", .unsupportedMethod),
    ("GET / http/1.1\r\n", .malformedRequestLine),
    ("GET / HTTP/1.1 \r\n", .malformedRequestLine),
    ("GET / HTTP/11\r\n", .malformedRequestLine),
    ("GET / HTTP/2.0\r\n", .unsupportedVersion),
    ("GET / HTTP/1.2\r\n", .unsupportedVersion),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", .unsupportedExpectation),
  ]

  static let accepted: [String] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
    "GET http://h:80/p?q HTTP/1.1\r\nHost: other\r\n\r\n",
    "GET https://h?q HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a%20b?x=%C3%A9&y[]=1 HTTP/1.1\r\nHost: [::1]:8080\r\nX-Y:\t v \t\r\nEmpty:\r\n\r\n",
    "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 007\r\nConnection: Keep-Alive, Upgrade\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: Chunked\r\nExpect: 100-Continue\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Text: caf\u{e9}\r\nConnection: close\r\n\r\n",
  ]

  @Test("what breaks RFC 9112 is refused with its own reason", arguments: refused)
  func refusals(text: String, error: ParseError) {
    #expect(Self.parse(text) == .refused(error))
  }

  @Test("valid heads are taken to their last byte", arguments: accepted)
  func acceptance(text: String) {
    guard case .complete(let layout) = Self.parse(text) else {
      Issue.record("\(Self.parse(text))")
      return
    }
    #expect(layout.length == text.utf8.count)
  }

  @Test("the outcome does not depend on how the bytes were cut", arguments: accepted + refused.map { $0.0 })
  func cuts(text: String) {
    let whole = Self.parse(text)
    let count = text.utf8.count
    for cut in 0...count { #expect(Self.parse(text, cuts: [cut]) == whole) }
    #expect(Self.parse(text, cuts: Array(0..<count)) == whole)
  }

  @Test("random bytes never trap and cut the same way")
  func randomBytes() {
    var generator = SplitMix(seed: 42)
    let alphabet = Array("GET /:\r\n HTTP/1.1Hostab%2,;\t\u{0}".utf8)
    for _ in 0..<3000 {
      var text = Self.accepted.randomElement(using: &generator).map { Array($0.utf8) } ?? []
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let index = Int.random(in: 0..<text.count, using: &generator)
        text[index] = alphabet.randomElement(using: &generator) ?? 0
      }
      let string = String(decoding: text, as: UTF8.self)
      let cut = Int.random(in: 0...string.utf8.count, using: &generator)
      #expect(Self.parse(string) == Self.parse(string, cuts: [cut]))
    }
  }

  @Test("a head that is too long is refused at its limit, wherever it was cut")
  func limits() {
    let limits = HeadLimits(requestLine: 64, fields: 64, fieldCount: 3)
    let longLine = "GET /" + String(repeating: "a", count: 100) + " HTTP/1.1\r\n"
    let longField = "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 100)
    let manyFields = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"
    for (text, error) in [
      (longLine, ParseError.targetTooLong), (longField, .fieldsTooLarge), (manyFields, .tooManyFields),
    ] {
      #expect(Self.parse(text, limits: limits) == .refused(error))
      #expect(Self.parse(text, cuts: Array(0..<text.utf8.count), limits: limits) == .refused(error))
    }
  }

  @Test("target, host and persistence are read as the head says")
  func meaning() {
    func text(_ source: String, _ range: Range<Int>?) -> String? {
      range.map { String(decoding: Array(source.utf8)[$0], as: UTF8.self) }
    }
    let absolute = Self.accepted[4]
    if case .complete(let layout) = Self.parse(absolute) {
      #expect(text(absolute, layout.authority) == "h:80")
      #expect(text(absolute, layout.path) == "/p")
      #expect(text(absolute, layout.query) == "q")
      #expect(layout.keepAlive)
    }
    if case .complete(let layout) = Self.parse(Self.accepted[7]) {
      #expect(layout.framing == .length(7))
      #expect(layout.saysUpgrade)
    }
    if case .complete(let layout) = Self.parse(Self.accepted[8]) {
      #expect(layout.framing == .chunked)
      #expect(layout.expectsContinue)
    }
    if case .complete(let layout) = Self.parse(Self.accepted[2]) { #expect(!layout.keepAlive) }
    if case .complete(let layout) = Self.parse(Self.accepted[9]) { #expect(!layout.keepAlive) }
  }

  @Test("every refusal has a status of the 4xx or 5xx class and says what would work", arguments: ParseError.allCases)
  func errors(error: ParseError) {
    #expect((400..<600).contains(error.status))
    #expect(!error.detail.isEmpty)
  }
}

/// A small seeded generator: the same numbers in every run.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
