import AloftModel
import Foundation
import HTTPClient
import HTTPTypes

/// What came of one attempt.
struct WebhookResult: Sendable, Equatable {
  /// Nil: the target took it.
  var failure: WebhookFailure?
  var status: Int?
  var detail: String?
  /// The front of the body that came back.
  var response: String?
  var milliseconds: Int = 0

  var isDelivered: Bool { failure == nil }
  var outcome: WebhookHealth.Outcome {
    switch failure {
    case nil: .delivered
    case .secretUnreadable, .internal: .unsent
    default: status == 410 ? .gone : .failed
    }
  }
}

/// Sends one delivery once, as Standard Webhooks 1.0 says (standardwebhooks.com).
struct WebhookTransport: Sendable {
  /// What is read of an answer, and what is kept of it.
  static let mostResponseBytes = 16 << 10
  static let keptResponseBytes = 1 << 10

  let client: OutgoingClient
  /// For all of an attempt, whatever the target does; far shorter than the lease of a round.
  let deadline: Duration
  let sealing: SealingKey
  let environment: Environment

  /// Nil when the attempt was cut off because this replica stops.
  func send(_ delivery: WebhookDeliveryRecord, to webhook: WebhookRecord) async -> WebhookResult? {
    // The operator may have changed what is allowed.
    if let refusal = client.refusal(of: webhook.url) {
      return WebhookResult(failure: .urlRefused, detail: refusal.words)
    }
    let secrets: [WebhookSecret]
    do {
      secrets = try [webhook.sealedSecret, webhook.sealedPrevious].compactMap(\.self).map {
        try sealing.open($0, of: webhook.id)
      }
    } catch {
      return WebhookResult(
        failure: .secretUnreadable, detail: "the operator has to mend this; another secret helps too")
    }
    let request = Self.request(delivery, url: webhook.url, secrets: secrets, at: environment.now())
    let started = environment.uptime()
    var result: WebhookResult
    do {
      result = Self.result(
        try await client.send(request, deadline: deadline, bodyPrefix: Self.mostResponseBytes))
    } catch {
      guard let failure = Self.failure(error.kind) else { return nil }
      result = WebhookResult(failure: failure, detail: failure.words(error.detail))
    }
    result.milliseconds = Int((environment.uptime() - started) * 1000)
    return result
  }

  /// The request of an attempt. It may be sent again by the client itself: the target knows it by its id.
  static func request(
    _ delivery: WebhookDeliveryRecord, url: String, secrets: [WebhookSecret], at now: Date
  ) -> HTTPClientRequest {
    let id = delivery.id.description
    let timestamp = Int(now.timeIntervalSince1970)
    let body = Array(delivery.body.utf8)
    var headers: HTTPFields = [.contentType: "application/json"]
    headers[header: "webhook-id"] = id
    headers[header: "webhook-timestamp"] = "\(timestamp)"
    headers[header: "webhook-signature"] = secrets.map { $0.signature(id: id, timestamp: timestamp, body: body) }
      .joined(separator: " ")
    return HTTPClientRequest(method: .post, url: url, headers: headers, body: .bytes(body), isIdempotent: true)
  }

  /// What an answer means.
  static func result(_ response: HTTPClientResponse) -> WebhookResult {
    var result = WebhookResult(status: response.status, response: text(response.body))
    switch response.status {
    case 200...299: break
    case 300...399:
      result.failure = .redirected
      result.detail = "the target answered \(response.status); redirects are not followed, change the webhook's URL"
    case 410:
      result.failure = .statusRefused
      result.detail = "the target answered 410: it wants no more"
    default:
      result.failure = .statusRefused
      result.detail = "the target answered \(response.status); it takes a delivery with any status from 200 to 299"
    }
    return result
  }

  /// Nil for what is no failure of the target.
  private static func failure(_ kind: HTTPClientError.Kind) -> WebhookFailure? {
    switch kind {
    case .cancelled, .closed: nil
    case .invalidRequest: .urlRefused
    case .resolve: .nameUnresolved
    case .connect: .connectFailed
    case .forbiddenAddress: .addressRefused
    case .tls: .tlsFailed
    case .timeout: .timedOut
    case .protocolError, .tooLarge: .protocolError
    case .sendFailed, .connectionLost: .connectionLost
    case .redirect: .redirected
    case .file, .bodySource, .unexpectedStatus, .resources: .internal
    }
  }

  /// As text that PostgreSQL takes.
  private static func text(_ body: [UInt8]) -> String? {
    guard !body.isEmpty else { return nil }
    return String(decoding: body.prefix(keptResponseBytes), as: UTF8.self).replacingOccurrences(
      of: "\0", with: "\u{FFFD}")
  }
}

extension WebhookFailure {
  /// In words. `detail` is the client's; where it could tell what a name leads to inside, it is left out.
  func words(_ detail: String) -> String {
    let summary =
      switch self {
      case .urlRefused: "the URL cannot be used"
      case .addressRefused: "the host's address is not public, and the operator does not allow it"
      case .nameUnresolved: "the host's name could not be resolved"
      case .connectFailed: "no connection to the host"
      case .tlsFailed: "the TLS handshake failed"
      case .timedOut: "it took too long"
      case .connectionLost: "the connection was lost before there was an answer"
      case .protocolError: "what came back is no proper HTTP"
      case .redirected: "a redirect was answered"
      case .statusRefused: "the status is none from 200 to 299"
      case .secretUnreadable: "the webhook's secret cannot be read"
      case .expired: "its time was over"
      case .internal: "it could not be sent"
      }
    guard self == .tlsFailed || self == .timedOut || self == .protocolError, !detail.isEmpty else { return summary }
    return "\(summary): \(detail.prefix(300))"
  }
}

extension OutgoingURL.Refusal {
  var words: String {
    switch self {
    case .malformed(let why): why
    case .notEncrypted: "the operator of this cloud allows https only"
    case .address(let refusal): "the host's address is not public (\(refusal.summary))"
    }
  }
}
