import HTTPTypes
import TestSupport
import Testing

@testable import HTTPClient

@Suite("HTTPClient: server-sent events")
struct EventTests {
  private let expected = [
    ServerSentEvent(id: "7", event: "vm.changed", data: "{\"a\":\n1}", retry: .milliseconds(2500)),
    ServerSentEvent(id: "7", data: "grüße", retry: .milliseconds(2500)),
  ]

  @Test("events arrive from a chunked response cut anywhere, and an unfinished one is dropped")
  func overHTTP() async throws {
    let server = try await TestServer.shared()
    var events: [ServerSentEvent] = []
    for try await event in try await makeClient().events(
      HTTPClientRequest(url: server.http + "/events"))
    {
      events.append(event)
    }
    #expect(events == expected)
  }

  @Test("an event is seen while the stream stays open, and cancelling the reader closes it")
  func live() async throws {
    let server = try await TestServer.shared()
    let client = makeClient()
    let (seen, report) = AsyncStream<ServerSentEvent>.makeStream()
    let task = Task {
      for try await event in try await client.events(
        HTTPClientRequest(url: server.http + "/events?stay=live"))
      {
        report.yield(event)
      }
    }
    var iterator = seen.makeAsyncIterator()
    #expect(await iterator.next() == expected[0])
    #expect(await iterator.next() == expected[1])
    task.cancel()
    #expect(await kind { try await task.value } == .cancelled)
    try await eventually("live is gone") { try await isGone("live", server) }
  }

  @Test("another status is thrown with its body, another content type is a protocol error")
  func notEvents() async throws {
    let server = try await TestServer.shared()
    do {
      _ = try await makeClient().events(HTTPClientRequest(url: server.http + "/status/410"))
      Issue.record("410 was taken for a stream")
    } catch {
      #expect(error.kind == .unexpectedStatus(410))
      #expect(String(decoding: error.responseBody, as: UTF8.self).contains("told_so"))
    }
    #expect(
      await kind {
        _ = try await makeClient().events(HTTPClientRequest(url: server.http + "/port"))
      } == .protocolError)
  }

  @Test(
    "the parser gives the same events for every way to cut the bytes",
    arguments: ["\n", "\r", "\r\n"])
  func everyCut(newline: String) throws {
    let text =
      "\u{FEFF}: note\nid: 1\ndata\n\nevent:x\ndata:  two\ndata:\nretry: no\nunknown: z\n\nid\nid: a\0b\n\ndata: c\n\ndata"
    let bytes = Array(text.replacing("\n", with: newline).utf8)
    let wanted = [
      ServerSentEvent(id: "1", data: ""), ServerSentEvent(id: "1", event: "x", data: " two\n"),
      ServerSentEvent(id: "", data: "c"),
    ]
    for cut in 0...bytes.count {
      var parser = ServerSentEventParser()
      let events = try parser.feed(bytes[..<cut]) + parser.feed(bytes[cut...])
      #expect(events == wanted)
    }
  }

  @Test("an event without end is refused at the limit")
  func endless() throws {
    var parser = ServerSentEventParser(limit: 100)
    #expect(throws: ServerSentEventParser.TooLarge.self) {
      _ = try parser.feed([UInt8](repeating: 0x61, count: 101))
    }
    var many = ServerSentEventParser(limit: 100)
    #expect(throws: ServerSentEventParser.TooLarge.self) {
      for _ in 0..<30 { _ = try many.feed(Array("data: aaaaaaa\n".utf8)) }
    }
  }
}
