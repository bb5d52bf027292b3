import Testing

@testable import OVSDB

@Suite("Messages in a stream")
struct MessageSplitterTests {
  private static let messages = [
    #"{}"#, #"{"a":"}"}"#, #"{"a":"\"}{"}"#, #"{"a":"\\"}"#, #"{"a":[{"b":"[[["},[]]}"#, #"{"a":"é\u007d"}"#,
  ]

  @Test("messages are found however the bytes arrive", arguments: [1, 2, 3, 7, 1_000])
  func pieces(size: Int) throws {
    let stream = Array(Self.messages.joined(separator: " \n").utf8)
    var splitter = MessageSplitter(maximumSize: 100, maximumDepth: 8)
    var found: [String] = []
    for start in stride(from: 0, to: stream.count, by: size) {
      splitter.append(stream[start..<min(start + size, stream.count)])
      while let message = try splitter.next() { found.append(String(decoding: message, as: UTF8.self)) }
    }
    #expect(found == Self.messages)
  }

  @Test(
    "a stream that is none is refused",
    arguments: [
      ("[]", MessageSplitter.Fault.notAnObject(byte: 0x5B)), ("{]", .unbalancedBrackets),
      ("{}x", .notAnObject(byte: 0x78)),
      (#"{"a":"0123456789"}"#, .messageTooLarge(limit: 12)), ("{[[[", .nestedTooDeep(limit: 3)),
      (#"{"a":"01234567890123"#, .messageTooLarge(limit: 12)),
    ])
  func hostile(text: String, fault: MessageSplitter.Fault) {
    var splitter = MessageSplitter(maximumSize: 12, maximumDepth: 3)
    splitter.append(text.utf8)
    #expect(throws: fault) { while try splitter.next() != nil {} }
  }

  @Test("a message of several MiB is found in small pieces")
  func large() throws {
    let message = #"{"a":""# + String(repeating: #"\"}"#, count: 1 << 20) + #""}"#
    var splitter = MessageSplitter(maximumSize: 8 << 20, maximumDepth: 8)
    let bytes = Array(message.utf8)
    var found: [[UInt8]] = []
    for start in stride(from: 0, to: bytes.count, by: 1_000) {
      splitter.append(bytes[start..<min(start + 1_000, bytes.count)])
      while let message = try splitter.next() { found.append(message) }
    }
    #expect(found == [bytes])
  }
}
