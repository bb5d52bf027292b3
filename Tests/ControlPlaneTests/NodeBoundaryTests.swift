import AloftModel
import ControlPlane
import Crypto
import Execution
import Foundation
import JSON
import Logging
import TestSupport
import Testing

/// What a node gets of what is not its own: nothing, and the operators can see that it tried.
@Suite("Boundaries of nodes")
struct NodeBoundaryTests {
  @Test("documents, images, reports and consoles of another node are refused and logged")
  func others() async throws {
    try await TestPlane.with { test async throws in
      let log = CapturedLog()
      let replica = try test.replica(logger: log.logger)
      try await test.makeImage()
      let owner = try await FakeAgent.join(test, "owner")
      _ = try await test.createVM("mine")
      let document = try #require(try await owner.poll().first)
      let stranger = try await FakeAgent.join(test, "stranger", report: FakeAgent.report(vcpus: 1))

      #expect(try await stranger.poll().isEmpty)
      let id = try #require(await test.call(.get, "/v1/images/tiny")["id"]?.stringValue)
      let image = await stranger.send(.get, "images/\(id)/content", on: replica)
      #expect(image.status == 404 && image.code == "not_found")
      #expect(log.take().contains { $0.contains("image") && $0.contains("\(stranger.id)") })

      let told = Observation(
        vm: document.vm, incarnation: document.incarnation, generation: document.generation, sequence: 1 << 40,
        power: .running)
      let answer = await stranger.send(
        .post, "observations", bytes: try JSONCoder.encode(ObservationReport(observations: [told])), on: replica)
      #expect(answer.status == 200 && answer["unknown_vms"]?[0]?.stringValue == "\(document.vm)")
      #expect(log.take().contains { $0.contains("\(document.vm)") && $0.contains("\(stranger.id)") })
      #expect(await test.call(.get, "/v1/vms/mine")["state"] == "creating")

      // A console that a client waits for: the node that it is not asked of brings other bytes.
      let reading = Task { await test.call(.get, "/v1/vms/mine/serial-log", on: replica) }
      let stream = try await found("the request for the log") {
        try await test.database.one("SELECT id FROM stream_requests")?.get(0, as: StreamID.self)
      }
      let brought = await stranger.send(.post, "streams/\(stream)", bytes: Array("forged".utf8), on: replica)
      #expect(brought.status == 404 && brought.code == "not_found")
      #expect(log.take().contains { $0.contains("stream") && $0.contains("\(stranger.id)") })
      reading.cancel()
      _ = await reading.value
      #expect(try await test.findings() == [])
    }
  }

  @Test("a node that was deleted is refused whatever it calls, on every replica, from the next call on")
  func deleted() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test, "node-a")
      let replica = try test.replica()
      #expect(try await agent.send(report: FakeAgent.report()).status == 200)
      #expect(await test.call(.delete, "/v1/nodes/node-a").status == 204)
      let renewal = try JSONCoder.encode(RenewRequest(certificateRequest: try FakeAgent.certificateRequest()))
      let report = try JSONCoder.encode(FakeAgent.report())
      let observations = try JSONCoder.encode(ObservationReport(observations: []))
      for plane in [test.plane, replica] {
        for answer in [
          await agent.send(.put, "node", bytes: report, on: plane),
          await agent.send(.post, "renew", bytes: renewal, on: plane),
          await agent.send(.get, "assignments?after=0", on: plane),
          await agent.send(.post, "observations", bytes: observations, on: plane),
        ] {
          #expect(answer.status == 401 && answer.code == "token_invalid", "\(answer)")
        }
      }
    }
  }

  @Test("a join token that was used, withdrawn or has expired makes no second node, also when sent at the same moment")
  func tokens() async throws {
    try await TestPlane.with(poolSize: 4) { test async throws in
      let token = await test.call(.post, "/v1/node-tokens", [:])
      let secret = try #require(token["secret"]?.stringValue)
      let answers = try await withThrowingTaskGroup(of: Int.self) { group in
        for index in 0..<6 {
          group.addTask {
            try await FakeAgent.join(test, "node-\(index)", token: secret, key: P256.Signing.PrivateKey()).status
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers.filter { $0 == 200 }.count == 1 && answers.filter { $0 == 401 }.count == 5, "\(answers)")
      let other = await test.call(.post, "/v1/node-tokens", [:])
      #expect(await test.call(.delete, "/v1/node-tokens/\(other["id"]?.stringValue ?? "")").status == 204)
      let withdrawn = try await FakeAgent.join(
        test, "node-x", token: other["secret"]?.stringValue ?? "", key: P256.Signing.PrivateKey())
      #expect(withdrawn.code == "join_token_invalid")
      #expect(await test.call(.get, "/v1/nodes")["items"]?.arrayValue?.count == 1)
    }
  }

  @Test("certificates that others made, and those of servers, speak for no node")
  func strangers() async throws {
    try await TestPlane.with { test async throws in
      let agent = try await FakeAgent.join(test, "node-a")
      // Names the node, and vouches for itself.
      let forged = try CertificateAuthority.create(name: "\(agent.id)", now: Date()).certificatePEM
      let answer = try await agent.showing(forged).send(.get, "assignments?after=0")
      #expect(answer.status == 401 && answer.code == "certificate_untrusted", "\(answer)")
      let server = try test.authority.issueServer(names: ["\(agent.id)"], now: Date(), lifetime: 60).certificatePEM
      #expect(try await agent.showing(server).send(.get, "assignments?after=0").code == "token_invalid")
    }
  }
}

/// What was logged, as text.
final class CapturedLog: Sendable {
  private let lines = Lock<[String]>([])

  var logger: Logger {
    Logger(label: "captured") { [lines] _ in Handler(lines: lines) }
  }

  /// The lines since the last call.
  func take() -> [String] {
    lines.withLock { lines in
      defer { lines = [] }
      return lines
    }
  }

  private struct Handler: LogHandler {
    let lines: Lock<[String]>
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      lines.withLock { $0.append("\(event.level) \(event.message) \(event.metadata ?? [:])") }
    }
  }
}
