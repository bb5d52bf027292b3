import Execution
import Foundation
import HTTP
import HTTPTypes
import JSON
import Logging
import TestSupport
import Testing

extension EndToEnd {
  /// Events that leave the cloud while its parts die.
  @Suite(.timeLimit(.minutes(10)))
  struct WebhookTests {
    @Test("every event of a project reaches its webhook at least once, while replicas are killed")
    func crashes() async throws {
      let seen = Lock<[String: Set<String>]>([:])
      let server = Server(
        configuration: ServerConfiguration(listeners: [.ip(host: "127.0.0.1", port: 0, tls: nil)]),
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        responder: { request in
          let id = HTTPField.Name("webhook-id").flatMap { request.headers[$0] } ?? ""
          guard let bytes = try? await request.body.collect(upTo: 1 << 20, within: .seconds(60)),
            let cursor = (try? JSONValue.parse(bytes))?["cursor"]?.stringValue
          else { return Response(status: .badRequest) }
          // Some are refused the first time.
          let isNew = seen.withLock { $0[cursor, default: []].insert(id).inserted }
          return Response(status: isNew && cursor.hasSuffix("7") ? .serviceUnavailable : .ok)
        })
      let port = try #require(try await server.start().first?.port)
      var shape = Cloud.Shape(replicas: 2)
      shape.serve = ["--outgoing-allow", "127.0.0.0/8", "--outgoing-allow-http"]
      let cloud = try await Cloud.start(shape)
      let made = try await cloud.aloft(
        "webhook", "create", "all", "--to", "http://127.0.0.1:\(port)/", "--event", "vm.*", "--event", "operation.*",
        "--event", "image.*")
      #expect(made.contains("whsec_"))
      for round in 0..<4 {
        let living = (round + 1) % 2
        let images = (0..<8).map { "image-\(round)-\($0)" }
        let vm = "vm-\(round)"
        _ = try await cloud.aloft("vm", "create", vm, "--image", "tiny", "--memory", "128MiB", "--no-wait")
        for (index, image) in images.enumerated() {
          _ = try await cloud.aloft("image", "create", image, replica: living)
          if index == 3 { try await cloud.killReplica(1 - living) }
        }
        try await cloud.startReplica(1 - living)
      }
      try await eventually("all that happened has been delivered", within: .seconds(120)) {
        let events = try await cloud.get("/v1/vms")["items"]?.arrayValue ?? []
        guard events.allSatisfy({ $0["state"]?.stringValue == "running" }) else { return false }
        let page = try await cloud.get("/v1/webhooks/all/deliveries?limit=1000")["items"]?.arrayValue ?? []
        return !page.isEmpty && page.allSatisfy { $0["state"]?.stringValue == "delivered" }
      }
      // What was there before the webhook is none of its news.
      let tiny = try await cloud.get("/v1/images?name=tiny")["items"]?[0]?["id"]
      let stream = try await cloud.curl("/v1/events?follow=false", "-H", "Last-Event-ID: 0")
      let wanted = stream.split(separator: "\n").filter { $0.hasPrefix("data: ") }.compactMap { line -> String? in
        guard let event = try? JSONValue.parse(Array(line.dropFirst(6).utf8)),
          let kind = event["kind"]?.stringValue, event["resource_id"] != tiny,
          ["vm.", "operation.", "image."].contains(where: { kind.hasPrefix($0) })
        else { return nil }
        return event["cursor"]?.stringValue
      }
      let received = seen.withLock { $0 }
      #expect(wanted.count >= 4 * 8 + 4 * 3)
      #expect(wanted.filter { received[$0] == nil } == [])
      #expect(received.values.allSatisfy { $0.count == 1 }, "one delivery for each event")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
      await server.shutdown(grace: .zero)
    }
  }
}
