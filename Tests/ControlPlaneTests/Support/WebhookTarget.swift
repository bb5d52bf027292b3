import IPAddressing
import ControlPlane
import Crypto
import Execution
import Foundation
import HTTP
import HTTPClient
import HTTPTypes
import JSON
import TestSupport
import Testing

/// A real server on loopback that webhooks are sent to.
final class WebhookTarget: Sendable {
  /// One request that came in.
  struct Received: Sendable {
    var path: String
    var headers: HTTPFields
    var body: [UInt8]

    func header(_ name: String) -> String { HTTPField.Name(name).flatMap { headers[$0] } ?? "" }
    var id: String { header("webhook-id") }
    var json: JSONValue { (try? JSONValue.parse(body)) ?? .null }
    var kind: String? { json["kind"]?.stringValue }

    /// Whether a signature of Standard Webhooks made with this secret is among those of the header.
    func isSigned(with secret: String) -> Bool {
      guard let key = Data(base64Encoded: String(secret.dropFirst("whsec_".count))) else { return false }
      let signed = Array("\(id).\(header("webhook-timestamp")).".utf8) + body
      let code = Data(HMAC<SHA256>.authenticationCode(for: signed, using: SymmetricKey(data: key)))
      return header("webhook-signature").split(separator: " ").contains { $0 == "v1,\(code.base64EncodedString())" }
    }
  }

  private let seen = Lock<[Received]>([])
  let port: Int
  private let server: Server

  private init(port: Int, server: Server) {
    self.port = port
    self.server = server
  }

  var url: String { "http://127.0.0.1:\(port)/hook" }
  var received: [Received] { seen.withLock { $0 } }
  var kinds: [String] { received.compactMap(\.kind) }

  /// Runs `body` with a target that answers what `answer` makes of a request and of how many came before it.
  static func with(
    answer: @escaping @Sendable (Received, Int) async -> HTTP.Response = { _, _ in HTTP.Response(status: .noContent) },
    _ body: (WebhookTarget) async throws -> Void
  ) async throws {
    let target = Lock<WebhookTarget?>(nil)
    let server = Server(
      configuration: ServerConfiguration(listeners: [.ip(host: "127.0.0.1", port: 0, tls: nil)]), logger: quiet,
      responder: { request in
        let bytes = (try? await request.body.collect(upTo: 1 << 20, within: .seconds(60))) ?? []
        let received = Received(path: request.path, headers: request.headers, body: bytes)
        let before = target.withLock { $0 }?.seen.withLock { seen in
          seen.append(received)
          return seen.count - 1
        }
        return await answer(received, before ?? 0)
      })
    let port = try #require(try await server.start().first?.port)
    let made = WebhookTarget(port: port, server: server)
    target.withLock { $0 = made }
    let outcome: Result<Void, any Error>
    do {
      try await body(made)
      outcome = .success(())
    } catch {
      outcome = .failure(error)
    }
    await server.shutdown(grace: .zero)
    try outcome.get()
  }

  /// Never answers; ends when the client has left.
  static func hang() async {
    let never = AsyncStream<Void>.makeStream()
    for await _ in never.stream {}
  }
}

extension OutgoingSettings {
  /// What lets a test reach its own targets.
  static let loopback = OutgoingSettings(
    allowed: ["127.0.0.0/8"].compactMap { AddressBlock($0) }, allowsHTTP: true)
}

extension TestPlane {
  /// Runs `body` with a plane whose tenants' URLs may lead to these places.
  static func with(
    background: Bool = false, poolSize: Int = 2, outgoing: OutgoingSettings, _ body: (TestPlane) async throws -> Void
  ) async throws {
    try await with(background: background, poolSize: poolSize, configure: { $0.outgoing = outgoing }, body)
  }

  /// Makes a webhook. Returns its id and its secret.
  @discardableResult
  func makeWebhook(
    _ name: String = "hook", to url: String, events: [String] = ["*"], project: String = "default"
  ) async throws -> (id: String, secret: String) {
    let made = await call(
      .post, "/v1/webhooks?project=\(project)",
      ["name": .string(name), "url": .string(url), "events": .array(events.map { .string($0) })])
    try #require(made.status == 201, "\(made)")
    return (try #require(made["id"]?.stringValue), try #require(made["secret"]?.stringValue))
  }

  /// The deliveries of a webhook, oldest first, when there are at least `count`.
  @discardableResult
  func deliveries(of webhook: String = "hook", atLeast count: Int) async throws -> [JSONValue] {
    try await found("\(count) deliveries are made") {
      try await plane.stepWebhookDispatcher()
      let page = await call(.get, "/v1/webhooks/\(webhook)/deliveries")
      try #require(page.status == 200, "\(page)")
      let items = page["items"]?.arrayValue ?? []
      return items.count >= count ? items.reversed() : nil
    }
  }

  /// Sends until nothing is due.
  func sendWebhooks() async throws {
    while try await plane.stepWebhookSender() > 0 {}
  }

  /// Lets the pauses behind failed attempts be over.
  func skipWebhookPauses() async throws {
    _ = try await database.query("UPDATE webhooks SET retry_at = NULL")
    _ = try await database.query("UPDATE webhook_deliveries SET due_at = aloft_now() WHERE due_at IS NOT NULL")
    _ = try await database.query("UPDATE work SET due_at = aloft_now() WHERE kind = 'webhook'")
  }
}
