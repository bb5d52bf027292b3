import Testing

@testable import HTTP

@Suite("Body and frame decoders")
struct DecoderTests {
  enum Outcome: Equatable {
    case complete([UInt8], rest: Int)
    case needsMore([UInt8])
    case refused(ParseError)
  }

  /// Decodes `text` given in pieces that end at `cuts`.
  static func dechunk(_ text: String, cuts: [Int] = []) -> Outcome {
    let bytes = Array(text.utf8)
    var decoder = ChunkDecoder()
    var output: [UInt8] = []
    var start = 0
    do {
      for end in cuts + [bytes.count] {
        start = try decoder.decode(bytes.span.extracting(0..<end), from: start, into: &output)
        if decoder.isComplete { return .complete(output, rest: bytes.count - start) }
      }
      return .needsMore(output)
    } catch {
      return .refused(error)
    }
  }

  static let chunked: [(String, Outcome)] = [
    ("5\r\nhello\r\n0\r\n\r\n", .complete(Array("hello".utf8), rest: 0)),
    ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", .complete(Array("hello world".utf8), rest: 3)),
    ("0\r\n\r\n", .complete([], rest: 0)),
    ("A;ext=\"v\";b\r\n0123456789\r\n000\r\nTrailer: x\r\nB:\r\n\r\n", .complete(Array("0123456789".utf8), rest: 0)),
    ("5\r\nhel", .needsMore(Array("hel".utf8))),
    ("\r\n", .refused(.invalidChunkSize)),
    ("g\r\n", .refused(.invalidChunkSize)),
    ("-1\r\n", .refused(.invalidChunkSize)),
    ("0x5\r\n", .refused(.invalidChunkSize)),
    ("5 \r\nhello\r\n", .refused(.invalidChunkSize)),
    ("5\nhello\r\n", .refused(.invalidChunkSize)),
    ("5\rhello", .refused(.invalidChunkSize)),
    ("1234567890123456\r\n", .refused(.invalidChunkSize)),
    ("5\r\nhelloX", .refused(.invalidChunk)),
    ("5\r\nhello\rX", .refused(.invalidChunk)),
    ("5\r\nhello\n0\r\n\r\n", .refused(.invalidChunk)),
    ("5;a\u{1}\r\n", .refused(.invalidFieldValue)),
    ("5;a\nhello", .refused(.bareLineBreak)),
    ("0\r\nbad name: x\r\n\r\n", .refused(.invalidFieldName)),
    ("0\r\n folded\r\n\r\n", .refused(.invalidFieldName)),
    ("5;" + String(repeating: "x", count: 9000), .refused(.chunkMetadataTooLarge)),
  ]

  @Test("chunked bodies are decoded or refused, the same however they are cut", arguments: chunked)
  func chunkedBodies(text: String, expected: Outcome) {
    #expect(Self.dechunk(text) == expected)
    let count = text.utf8.count
    for cut in stride(from: 0, through: count, by: max(1, count / 100)) {
      #expect(Self.dechunk(text, cuts: [cut]) == expected)
    }
    #expect(Self.dechunk(text, cuts: Array(0..<count)) == expected)
  }

  @Test("a body is counted against the cap, declared or not")
  func cap() throws {
    #expect(throws: ParseError.bodyTooLarge) { try BodyDecoder(framing: .length(11), maximum: 10) }
    var decoder = try BodyDecoder(framing: .chunked, maximum: 10)
    let bytes = Array("b\r\nhello world\r\n".utf8)
    var output: [UInt8] = []
    #expect(throws: ParseError.bodyTooLarge) { try decoder.decode(bytes.span, from: 0, into: &output) }
  }

  // MARK: WebSocket

  static func frame(_ first: UInt8, _ payload: [UInt8], masked: Bool = true, length: [UInt8]? = nil) -> [UInt8] {
    let mask: [UInt8] = [1, 2, 3, 4]
    let size = length ?? [UInt8(payload.count)]
    var bytes = [first] + size
    if masked {
      bytes[1] |= 0x80
      bytes += mask
      bytes += payload.enumerated().map { $1 ^ mask[$0 % 4] }
    } else {
      bytes += payload
    }
    return bytes
  }

  enum Frames: Equatable {
    case events([FrameDecoder.Event])
    case fault([FrameDecoder.Event], FrameDecoder.Fault)
  }

  static func decode(_ bytes: [UInt8], cuts: [Int] = [], limit: Int = 1000) -> Frames {
    var decoder = FrameDecoder(maximumMessage: limit)
    var events: [FrameDecoder.Event] = []
    var position = 0
    do {
      for end in cuts + [bytes.count] {
        while let event = try decoder.next(bytes.span.extracting(0..<end), &position) { events.append(event) }
      }
      return .events(events)
    } catch {
      return .fault(events, error)
    }
  }

  static let frames: [([UInt8], Frames)] = [
    (frame(0x81, Array("hi".utf8)), .events([.text("hi")])),
    (frame(0x82, [1, 2, 3, 4, 5]), .events([.binary([1, 2, 3, 4, 5])])),
    (frame(0x81, []), .events([.text("")])),
    (
      frame(0x01, Array("a".utf8)) + frame(0x89, [7]) + frame(0x00, Array("b".utf8)) + frame(0x80, Array("c".utf8)),
      .events([.ping([7]), .text("abc")])
    ),
    (frame(0x88, []), .events([.close(code: nil, reason: "")])),
    (frame(0x88, [0x03, 0xE8] + Array("bye".utf8)), .events([.close(code: 1000, reason: "bye")])),
    (
      frame(0x82, [UInt8](repeating: 9, count: 200), length: [126, 0, 200]),
      .events([.binary([UInt8](repeating: 9, count: 200))])
    ),
    (frame(0x81, Array("x".utf8), masked: false), .fault([], .protocolError)),
    (frame(0xC1, []), .fault([], .protocolError)),
    (frame(0x83, []), .fault([], .protocolError)),
    (frame(0x80, []), .fault([], .protocolError)),
    (frame(0x01, []) + frame(0x81, []), .fault([], .protocolError)),
    (frame(0x09, []), .fault([], .protocolError)),
    (frame(0x89, [], length: [126, 0, 126]), .fault([], .protocolError)),
    (frame(0x82, [], length: [126, 0, 5]), .fault([], .protocolError)),
    (frame(0x82, [], length: [127, 0, 0, 0, 0, 0, 0, 1, 0]), .fault([], .protocolError)),
    (frame(0x82, [], length: [127, 0x80, 0, 0, 0, 0, 0, 0, 0]), .fault([], .protocolError)),
    (frame(0x82, [], length: [126, 0x10, 0]), .fault([], .messageTooLarge)),
    (frame(0x82, [], length: [127, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), .fault([], .messageTooLarge)),
    (frame(0x81, [0xFF]), .fault([], .invalidText)),
    (frame(0x88, [1]), .fault([], .protocolError)),
    (frame(0x88, [0x03, 0xED]), .fault([], .protocolError)),
    (frame(0x88, [0x03, 0xE8, 0xFF]), .fault([], .invalidText)),
  ]

  @Test("WebSocket frames are decoded or refused, the same however they are cut", arguments: frames)
  func webSocketFrames(bytes: [UInt8], expected: Frames) {
    #expect(Self.decode(bytes) == expected)
    for cut in 0...bytes.count { #expect(Self.decode(bytes, cuts: [cut]) == expected) }
    #expect(Self.decode(bytes, cuts: Array(0..<bytes.count)) == expected)
  }

  @Test("frame headers use the shortest length")
  func frameHeaders() {
    func header(_ length: Int) -> [UInt8] {
      var output: [UInt8] = []
      FrameEncoder.appendHeader(.binary, length: length, to: &output)
      return output
    }
    #expect(header(125) == [0x82, 125])
    #expect(header(126) == [0x82, 126, 0, 126])
    #expect(header(65_536) == [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0])
  }
}
