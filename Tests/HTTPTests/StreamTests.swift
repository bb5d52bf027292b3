import Execution
import HTTP
import HTTPTypes
import TestSupport
import Testing

@Suite("Streamed responses")
struct StreamTests {
  static let get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

  @Test("each write is sent at once, as a chunk, and the connection serves on")
  func chunks() async throws {
    let step = Box(0)
    try await withServer(responder: { request in
      Response(
        body: .stream { writer in
          for index in 1...3 {
            try await eventually("the client has read chunk \(index - 1)") { await step.value >= index - 1 }
            try await writer.write("chunk \(index)")
          }
        })
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      for _ in 0..<2 {
        await step.set(0)
        try await client.send(Self.get)
        #expect(try await client.read(upTo: "\r\n\r\n").contains("Transfer-Encoding: chunked"))
        for index in 1...3 {
          #expect(try await client.read(upTo: "chunk \(index)\r\n") == "7\r\nchunk \(index)\r\n")
          await step.set(index)
        }
        #expect(try await client.read(5) == Array("0\r\n\r\n".utf8))
      }
    }
  }

  @Test("a writer waits for a client that does not read, and its bytes arrive in order")
  func backPressure() async throws {
    let written = Box(0)
    try await withServer(responder: { _ in
      Response(
        body: .stream(length: 32 << 20) { writer in
          for index in 0..<512 {
            try await writer.write([UInt8](repeating: UInt8(truncatingIfNeeded: index), count: 65_536))
            await written.set(index + 1)
          }
        })
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.get)
      #expect(try await client.read(upTo: "\r\n\r\n").contains("Content-Length: 33554432"))
      let count = try await settled("the writer waits") {
        let now = await written.value
        return now > 0 ? now : nil
      }
      #expect(count < 512)
      for index in 0..<512 {
        let piece = try await client.read(65_536)
        #expect(piece.allSatisfy { $0 == UInt8(truncatingIfNeeded: index) })
      }
      try await client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
      #expect(try await client.response(toHead: true).status == 200)
    }
  }

  @Test("a handler is cancelled when its client leaves, whether it writes or waits", arguments: [false, true])
  func cancellation(writes: Bool) async throws {
    let ended = Box<String?>(nil)
    try await withServer(responder: { _ in
      let wait: @Sendable (BodyWriter?) async throws -> Void = { writer in
        do {
          while true {
            if let writer {
              try await writer.write([UInt8](repeating: 0, count: 100_000))
            } else {
              try await Task.sleep(for: .seconds(3600))
            }
          }
        } catch {
          await ended.set("\(error)")
          throw error
        }
      }
      if !writes {
        try? await wait(nil)
        return Response()
      }
      return Response(body: .stream { try await wait($0) })
    }) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.get)
      try await eventually("the handler runs") { server.statistics().requests == 1 }
      await client.disconnect()
      try await eventually("the handler ends") { await ended.value != nil }
      try await eventually("the connection is gone") { server.statistics().openConnections == 0 }
    }
  }

  @Test("a stream that throws, or is shorter than it said, is cut so that the client notices")
  func broken() async throws {
    struct Broken: Error {}
    try await withServer(responder: { request in
      switch request.path {
      case "/throws":
        Response(
          body: .stream {
            try await $0.write("part")
            throw Broken()
          })
      case "/short": Response(body: .stream(length: 10) { try await $0.write("part") })
      default:
        Response(
          body: .stream(length: 4) { writer in
            try await writer.write("four")
            await #expect(throws: StreamError.lengthExceeded) { try await writer.write("more") }
          })
      }
    }) { _, port in
      for path in ["/throws", "/short"] {
        let client = try await TestClient.connect(port: port)
        try await client.send("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
        await #expect(throws: TestClient.Failure.self) { try await client.response() }
      }
      let client = try await TestClient.connect(port: port)
      #expect(try await client.request(Self.get).text == "four")
      #expect(try await client.request(Self.get).text == "four")
    }
  }

  @Test("a large body in memory is sent whole, one after the other")
  func largeBytes() async throws {
    let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try await withServer(responder: { _ in Response(contentType: "a/b", body: body) }) { _, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.get + Self.get)
      #expect(try await client.response().body == body)
      #expect(try await client.response().body == body)
    }
  }

  @Test("events are encoded line by line and cannot be forged by their content")
  func eventEncoding() {
    let event = ServerSentEvent(id: "7\n8", event: "vm\r.changed", data: "a\nb\r\nc\rd", retry: .milliseconds(1500))
    #expect(
      String(decoding: event.encoded, as: UTF8.self)
        == "id: 78\nevent: vm.changed\nretry: 1500\ndata: a\ndata: b\ndata: c\ndata: d\n\n")
    #expect(String(decoding: ServerSentEvent(data: "").encoded, as: UTF8.self) == "data: \n\n")
  }

  @Test("an event stream sends events at once, and comments while there are none")
  func eventStream() async throws {
    let go = Box(false)
    try await withServer(responder: { _ in
      .serverSentEvents(heartbeat: .milliseconds(5)) { writer in
        try await writer.send(ServerSentEvent(id: "1", data: "first"))
        try await eventually("the client has seen a heartbeat") { await go.value }
        try await writer.send(ServerSentEvent(id: "2", data: "second"))
      }
    }) { server, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.get)
      #expect(try await client.read(upTo: "\r\n\r\n").contains("Content-Type: text/event-stream"))
      #expect(try await client.read(upTo: "\n\n").contains("id: 1\ndata: first\n"))
      #expect(try await client.read(upTo: "\n\n").contains(":\n\n"))
      await go.set(true)
      #expect(try await client.read(upTo: "data: second\n\n").contains("id: 2"))
      #expect(try await client.read(upTo: "0\r\n\r\n").hasSuffix("0\r\n\r\n"))
    }
  }

  @Test("a half-closed client still gets its answer from a handler that does not heed its cancellation")
  func halfClose() async throws {
    let gate = Box(false)
    let cancelled = Box(false)
    try await withServer(responder: { _ in
      await withTaskCancellationHandler {
        while !(await gate.value) { await Task.yield() }
      } onCancel: {
        Task { await cancelled.set(true) }
      }
      return Response(contentType: "a/b", body: Array("late".utf8))
    }) { _, port in
      let client = try await TestClient.connect(port: port)
      try await client.send(Self.get)
      await client.finishSending()
      try await eventually("the handler is cancelled") { await cancelled.value }
      await gate.set(true)
      #expect(try await client.response().text == "late")
      #expect(try await client.isClosedByServer())
    }
  }
}
